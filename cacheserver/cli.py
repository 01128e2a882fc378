"""The command line: serve, keys, settings, and a Claude that needs no key.

Rule: what goes wrong is one line on stderr and exit status 1; a usage error is 2. What a script
may want to read goes to stdout, everything said to a person beside it to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cacheserver.analysis.audit import command as audit
from cacheserver.analysis.scenarios import command as scenarios
from cacheserver.backup import backup, encryption_command
from cacheserver.core.errors import CacheServerError
from cacheserver.core.rules.routing import CHEAPEST_MODEL
from cacheserver.erasure import command as erasecommand
from cacheserver.tenants import key_times

if TYPE_CHECKING:  # the base install, a client, has none of what these need
    from cacheserver.config.settings import Settings
    from cacheserver.core.rules.limits import Limits
    from cacheserver.tenants.store import Tenants

SETTINGS_PAGE = """# Settings

Each is a variable, or a key in a TOML file: there in lower case and without `CACHESERVER_`. The
file is the one that `--config FILE` or `CACHESERVER_CONFIG` names; none is read because it lies in
the working directory, for it says which host gets the key for Claude. A variable wins over it. What
is misspelt is refused, with the nearest name there is. `cacheserver settings` shows what is in
force.

This page is made by `cacheserver settings --markdown`.

"""

_PRICES = "a TOML price file (default: CACHESERVER_PRICES)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        if given[:1] == ["simulate-claude"]:  # it has options of its own, and its own --help
            from cacheserver import simulated

            return simulated.main(given[1:], announce=_say)
        asked = _parser().parse_args(given)
        run: Callable[[argparse.Namespace], int] = asked.run
        status = run(asked)
        sys.stdout.flush()  # here, where it can still be told that nobody reads it
        return status
    except CacheServerError as error:
        _say(f"cacheserver: {error}")
    except ModuleNotFoundError as error:
        _say(f"cacheserver: {error.name} is not installed; pip install 'cacheserver[server]'")
    except KeyboardInterrupt:
        return 130  # as shells have it: 128 + SIGINT
    except BrokenPipeError:
        # `| head` has read enough; what Python flushes at its end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 + SIGPIPE
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cacheserver",
        description="A semantic response cache for Claude.",
        epilog="Settings are CACHESERVER_* variables, or in a TOML file that --config names: "
        "`cacheserver settings`.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    configured = argparse.ArgumentParser(add_help=False)
    configured.add_argument(
        "--config", type=Path, metavar="FILE", help="read settings from this TOML file"
    )

    serve = commands.add_parser("serve", help="run the server", parents=[configured])
    serve.set_defaults(run=_serve)

    settings = commands.add_parser(
        "settings", help="show the settings in force, without secrets", parents=[configured]
    )
    settings.add_argument(
        "--markdown", action="store_true", help="describe all of them instead, as docs/settings.md"
    )
    settings.set_defaults(run=_settings)

    commands.add_parser("simulate-claude", help="serve a Claude that needs no key", add_help=False)

    lint = commands.add_parser(
        "lint", help="find what costs tokens for nothing in a prompt", parents=[configured]
    )
    lint.add_argument("files", nargs="+", metavar="FILE", help="a Messages body as JSON, or a text")
    lint.add_argument("--model", default=CHEAPEST_MODEL, help="whose tokens and prices")
    lint.add_argument("--prices", type=Path, help=_PRICES)
    lint.add_argument("--requests-a-day", type=int, default=1_000, help="how often it is sent")
    lint.add_argument("--json", action="store_true", help="all of it, for programs")
    lint.set_defaults(run=_lint)

    estimate = commands.add_parser(
        "estimate", help="price a prompt or a plan before it is sent", parents=[configured]
    )
    estimate.add_argument(
        "file",
        type=Path,
        help="a Messages body, a batch's, or a plan as JSON; lines of them; a text",
    )
    estimate.add_argument("--model", default=CHEAPEST_MODEL, help="that a text is asked of")
    estimate.add_argument("--max-tokens", type=int, default=1_024, help="that answer a text")
    estimate.add_argument(
        "--batch", action="store_true", help="price lines and texts as in a batch"
    )
    estimate.add_argument("--prices", type=Path, help=_PRICES)
    estimate.set_defaults(run=_estimate)

    audit.add(commands)
    scenarios.add(commands)

    backup.add(commands, say=_say)
    erasecommand.add(commands, configured, _settings_of)
    encryption_command.add(commands, say=_say, configured=configured)

    key = commands.add_parser("key", help="create, list, rotate, limit and revoke API keys")
    verbs = key.add_subparsers(title="commands", required=True, metavar="COMMAND")
    limits = argparse.ArgumentParser(add_help=False)
    for name, about in (
        ("requests-per-minute", "requests it may make in a minute"),
        ("concurrent-misses", "calls to Claude it may have under way"),
        ("tokens-per-minute", "tokens it may have Claude asked for in a minute"),
    ):
        limits.add_argument(f"--{name}", type=int, metavar="N", help=about)
    expiring = argparse.ArgumentParser(add_help=False)
    expiring.add_argument(
        "--expires", metavar="WHEN", help="refuse it from then on: 90d, 12h, or an ISO 8601 time"
    )

    create = verbs.add_parser(
        "create",
        help="create a key and print it, this once",
        parents=[configured, limits, expiring],
    )
    create.add_argument("--tenant", required=True, help="whom it lets in")
    create.add_argument("--label", default="", help="to tell it from others in the list")
    create.set_defaults(run=lambda asked: _with_tenants(asked, _create(asked)))
    listing = verbs.add_parser("list", help="list the keys there are", parents=[configured])
    listing.set_defaults(run=lambda asked: _with_tenants(asked, _list))
    rotate = verbs.add_parser(
        "rotate", help="print a new key in place of one", parents=[configured, expiring]
    )
    rotate.add_argument("id", help="as `list` shows it; it stays")
    rotate.add_argument(
        "--overlap", default="0", metavar="TIME", help="take the old one too for so long: 24h, 7d"
    )
    rotate.set_defaults(run=lambda asked: _with_tenants(asked, _rotate(asked)))
    limit = verbs.add_parser(
        "limit", help="set how fast a key may ask", parents=[configured, limits]
    )
    limit.add_argument("id", help="as `list` shows it; a limit that is not given is none")
    limit.set_defaults(run=lambda asked: _with_tenants(asked, _limit(asked)))
    revoke = verbs.add_parser("revoke", help="stop a key, within seconds", parents=[configured])
    revoke.add_argument("id", help="as `list` shows it")
    revoke.set_defaults(run=lambda asked: _with_tenants(asked, _revoke(asked.id)))
    unlock = verbs.add_parser(
        "open", help="let this machine in without a key again", parents=[configured]
    )
    unlock.add_argument(
        "--yes", action="store_true", required=True, help="there is no other way back to no keys"
    )
    unlock.set_defaults(run=lambda asked: _with_tenants(asked, _open))
    return parser


def _serve(asked: argparse.Namespace) -> int:
    from cacheserver import app
    from cacheserver.observability import logs

    settings = _settings_of(asked)
    logs.install(settings.log_level, settings.log_format)
    # Where lines are read by a program, ours are no exception.
    announce = logging.getLogger("cacheserver").info if settings.log_format == "json" else _say
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(app.serve(settings, announce=announce))
    return 0


def _settings(asked: argparse.Namespace) -> int:
    from cacheserver.config import settings as config

    if asked.markdown:
        print(SETTINGS_PAGE + config.settings_table(), end="")
        return 0
    for variable, value in config.shown(_settings_of(asked)).items():
        print(f"{variable}={value}")
    return 0


def _lint(asked: argparse.Namespace) -> int:
    from cacheserver.lint import command as linting
    from cacheserver.pricing import price_file as pricefile

    pricer = pricefile.build_pricer(pricefile.read_price_file(_settings_of(asked), asked.prices))
    return linting.run(
        [Path(name) for name in asked.files],
        pricer=pricer,
        model=asked.model,
        requests_a_day=asked.requests_a_day,
        as_json=asked.json,
        say=_say,
    )


def _estimate(asked: argparse.Namespace) -> int:
    from cacheserver.core.errors import BadRequest
    from cacheserver.pricing import command as estimating
    from cacheserver.pricing import price_file as pricefile

    pricer = pricefile.build_pricer(pricefile.read_price_file(_settings_of(asked), asked.prices))
    try:
        found = estimating.estimate_file(
            asked.file, pricer, model=asked.model, max_tokens=asked.max_tokens, batch=asked.batch
        )
    except (OSError, ValueError, BadRequest) as error:
        _say(f"cacheserver: {asked.file}: {error}")
        return 2
    print(json.dumps(found, indent=2))
    return 0


def _settings_of(asked: argparse.Namespace) -> Settings:
    """The settings in force for a command; says so where a file is there that is not read."""
    from cacheserver.config import settings as config

    if (said := config.hint(file=asked.config)) is not None:
        _say(said)
    return config.load(file=asked.config)


Command = Callable[["Tenants"], Coroutine[Any, Any, None]]


def _create(asked: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        key, plain = await tenants.create_key(
            asked.tenant, asked.label, expires_at=_moment(asked.expires), limits=_limits(asked)
        )
        print(plain)
        _say(f"Key {key.id} of tenant {key.tenant}. It is kept hashed and not shown again.")

    return run


async def _list(tenants: Tenants) -> None:
    for key in await tenants.list_keys():
        facts = [f"used {key.last_used or 'never'}"]
        if key.expires_at is not None:
            over = key.expires_at <= time.time()
            facts.append(f"{'expired' if over else 'expires'} {_shown(key.expires_at)}")
        if key.overlaps_until is not None and key.overlaps_until > time.time():
            facts.append(f"the one before it until {_shown(key.overlaps_until)}")
        set_ = asdict(key.limits).items()
        facts += [f"{name} {value}" for name, value in set_ if value is not None]
        line = f"{key.id}  {_shown(key.created_at)}  {key.tenant}  {key.label}".rstrip()
        print(f"{line}  ({'; '.join(facts)})")


def _rotate(asked: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        overlap_s = key_times.seconds("overlap", asked.overlap)
        key, plain = await tenants.rotate_key(
            asked.id, overlap_s=overlap_s, expires_at=_moment(asked.expires)
        )
        print(plain)
        until = "is refused within seconds"
        if key.overlaps_until is not None:
            until = f"is taken until {_shown(key.overlaps_until)}"
        _say(f"Key {key.id} of tenant {key.tenant} is this one now; the one before it {until}.")

    return run


def _limit(asked: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        key = await tenants.limit_key(asked.id, _limits(asked))
        _say(f"Key {key.id} of tenant {key.tenant} has these limits within seconds.")

    return run


def _revoke(key_id: str) -> Command:
    async def run(tenants: Tenants) -> None:
        key = await tenants.revoke_key(key_id)
        _say(f"Key {key.id} of tenant {key.tenant} is revoked; servers refuse it within seconds.")

    return run


async def _open(tenants: Tenants) -> None:
    await tenants.open()
    _say("No key is needed on this machine any more, until the next one is created.")


def _moment(text: str | None) -> float | None:
    return None if text is None else key_times.moment("expires", text, time.time())


def _shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds")


def _limits(asked: argparse.Namespace) -> Limits:
    from cacheserver.core.rules.limits import Limits
    from cacheserver.tenants import tenant_json

    given = {name: getattr(asked, name) for name in Limits.__dataclass_fields__}
    return tenant_json.limits("limits", given)


def _with_tenants(asked: argparse.Namespace, command: Command) -> int:
    settings = _settings_of(asked)

    async def run() -> None:
        async with _tenants(settings) as tenants:
            await command(tenants)

    asyncio.run(run())
    return 0


@asynccontextmanager
async def _tenants(settings: Settings) -> AsyncIterator[Tenants]:
    """The keys and tenants: in the store of a server that runs, else in one for the moment."""
    from cacheserver.backup import opening
    from cacheserver.config import settings as config
    from cacheserver.core.types import Tenant
    from cacheserver.tenants.store import Tenants

    url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    prefix, data_dir = settings.redis_prefix, settings.data_dir
    async with opening.opened(
        url, data_dir=data_dir, prefix=prefix, tls=config.tls(settings)
    ) as redis:
        yield Tenants(
            redis,
            prefix=prefix,
            defaults=Tenant(name="default"),
            access=data_dir / "access",
        )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where there is one: twice the requests of asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
