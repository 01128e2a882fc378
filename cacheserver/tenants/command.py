"""`cacheserver key`: the API keys of tenants."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cacheserver.core.command_line import CommandLine, say
from cacheserver.tenants import key_times

if TYPE_CHECKING:  # imported as a command runs
    from cacheserver.config.settings import Settings
    from cacheserver.core.rules.limits import Limits
    from cacheserver.tenants.store import Tenants


def add(line: CommandLine) -> None:
    """Add the commands. Nothing heavy is imported until one runs."""
    key = line.commands.add_parser("key", help="create, list, rotate, limit and revoke API keys")
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
        parents=[line.configured, limits, expiring],
    )
    create.add_argument("--tenant", required=True, help="whom it lets in")
    create.add_argument("--label", default="", help="to tell it from others in the list")
    create.set_defaults(run=lambda asked: _with_tenants(asked, line, _create(asked)))
    listing = verbs.add_parser("list", help="list the keys there are", parents=[line.configured])
    listing.set_defaults(run=lambda asked: _with_tenants(asked, line, _list))
    rotate = verbs.add_parser(
        "rotate", help="print a new key in place of one", parents=[line.configured, expiring]
    )
    rotate.add_argument("id", help="as `list` shows it; it stays")
    rotate.add_argument(
        "--overlap", default="0", metavar="TIME", help="take the old one too for so long: 24h, 7d"
    )
    rotate.set_defaults(run=lambda asked: _with_tenants(asked, line, _rotate(asked)))
    limit = verbs.add_parser(
        "limit", help="set how fast a key may ask", parents=[line.configured, limits]
    )
    limit.add_argument("id", help="as `list` shows it; a limit that is not given is none")
    limit.set_defaults(run=lambda asked: _with_tenants(asked, line, _limit(asked)))
    revoke = verbs.add_parser(
        "revoke", help="stop a key, within seconds", parents=[line.configured]
    )
    revoke.add_argument("id", help="as `list` shows it")
    revoke.set_defaults(run=lambda asked: _with_tenants(asked, line, _revoke(asked.id)))
    unlock = verbs.add_parser(
        "open", help="let this machine in without a key again", parents=[line.configured]
    )
    unlock.add_argument(
        "--yes", action="store_true", required=True, help="there is no other way back to no keys"
    )
    unlock.set_defaults(run=lambda asked: _with_tenants(asked, line, _open))


Command = Callable[["Tenants"], Coroutine[Any, Any, None]]


def _create(asked: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        key, plain = await tenants.create_key(
            asked.tenant, asked.label, expires_at=_moment(asked.expires), limits=_limits(asked)
        )
        print(plain)
        say(f"Key {key.id} of tenant {key.tenant}. It is kept hashed and not shown again.")

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
        say(f"Key {key.id} of tenant {key.tenant} is this one now; the one before it {until}.")

    return run


def _limit(asked: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        key = await tenants.limit_key(asked.id, _limits(asked))
        say(f"Key {key.id} of tenant {key.tenant} has these limits within seconds.")

    return run


def _revoke(key_id: str) -> Command:
    async def run(tenants: Tenants) -> None:
        key = await tenants.revoke_key(key_id)
        say(f"Key {key.id} of tenant {key.tenant} is revoked; servers refuse it within seconds.")

    return run


async def _open(tenants: Tenants) -> None:
    await tenants.open()
    say("No key is needed on this machine any more, until the next one is created.")


def _moment(text: str | None) -> float | None:
    return None if text is None else key_times.moment("expires", text, time.time())


def _shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds")


def _limits(asked: argparse.Namespace) -> Limits:
    from cacheserver.core.rules.limits import Limits
    from cacheserver.tenants import tenant_json

    given = {name: getattr(asked, name) for name in Limits.__dataclass_fields__}
    return tenant_json.limits("limits", given)


def _with_tenants(asked: argparse.Namespace, line: CommandLine, command: Command) -> int:
    settings = line.settings_of(asked)

    async def run() -> None:
        async with _tenants(settings) as tenants:
            await command(tenants)

    asyncio.run(run())
    return 0


@asynccontextmanager
async def _tenants(settings: Settings) -> AsyncIterator[Tenants]:
    """The keys and tenants: in the store of a server that runs, else in one for the moment."""
    from cacheserver.config import settings as config
    from cacheserver.core.types import Tenant
    from cacheserver.embedded import command_connection
    from cacheserver.tenants.store import Tenants

    url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    prefix, data_dir = settings.redis_prefix, settings.data_dir
    async with command_connection.open_connection(
        url, data_dir=data_dir, prefix=prefix, tls=config.tls(settings)
    ) as redis:
        yield Tenants(
            redis,
            prefix=prefix,
            defaults=Tenant(name="default"),
            access=data_dir / "access",
        )
