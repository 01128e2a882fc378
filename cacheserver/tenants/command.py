"""`cacheserver key`: the keys of tenants; with `cacheserver admin-key`, of admins."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cacheserver.core.command_line import (
    OK,
    CommandLine,
    add_command,
    add_json,
    add_verbs,
    print_done,
    print_json,
)
from cacheserver.tenants import admin_key_command, key_times
from cacheserver.tenants.key_changes import (
    ONCE,
    connected,
    everywhere,
    moment,
    print_new,
    record,
    shown,
)

if TYPE_CHECKING:  # imported as a command runs
    from cacheserver.core.rules.limits import Limits
    from cacheserver.tenants.api_key import ApiKey
    from cacheserver.tenants.store import Tenants


def add(line: CommandLine) -> None:
    """Add the commands. Nothing heavy is imported until one runs."""
    key = add_command(line.commands, "key", help="create, list, rotate, limit and revoke API keys")
    verbs = add_verbs(key)
    limits = argparse.ArgumentParser(add_help=False)
    for name, about in (
        ("requests-per-minute", "requests in a minute"),
        ("concurrent-misses", "concurrent calls to Claude"),
        ("tokens-per-minute", "tokens of calls to Claude in a minute"),
    ):
        limits.add_argument(f"--{name}", type=int, metavar="N", help=about)
    expiring = argparse.ArgumentParser(add_help=False)
    expiring.add_argument(
        "--expires", metavar="WHEN", help="when the key expires: 90d, 12h, or an ISO 8601 time"
    )

    create = add_command(
        verbs,
        "create",
        help="create a key and print it, once",
        example="cacheserver key create --tenant shop --label 'web site' --expires 90d",
        parents=[line.configured, limits, expiring],
    )
    create.add_argument(
        "--tenant", required=True, metavar="NAME", help="tenant that the key belongs to"
    )
    create.add_argument("--label", default="", help="a name for the list of keys")
    create.add_argument(
        "--role",
        choices=("ask", "write"),
        default="ask",
        help="ask (default); write: also stores answers of its own",
    )
    add_json(create)
    create.set_defaults(
        run=lambda args: _with_tenants(args, line, _create(args), change="key create")
    )
    listing = add_command(
        verbs,
        "list",
        help="list all keys",
        example="cacheserver key list --json",
        parents=[line.configured],
    )
    add_json(listing)
    listing.set_defaults(run=lambda args: _with_tenants(args, line, _list(args)))
    rotate = add_command(
        verbs,
        "rotate",
        help="replace a key and print the new one",
        example="cacheserver key rotate ID --overlap 24h",
        parents=[line.configured, expiring],
    )
    rotate.add_argument("id", help="id that `list` shows; it does not change")
    rotate.add_argument(
        "--overlap", default="0", metavar="TIME", help="how long the old key stays valid: 24h, 7d"
    )
    add_json(rotate)
    rotate.set_defaults(
        run=lambda args: _with_tenants(args, line, _rotate(args), change="key rotate")
    )
    limit = add_command(
        verbs,
        "limit",
        help="set the rate limits of a key",
        example="cacheserver key limit ID --requests-per-minute 600",
        parents=[line.configured, limits],
    )
    limit.add_argument("id", help="id that `list` shows; limits that are not given are removed")
    add_json(limit)
    limit.set_defaults(run=lambda args: _with_tenants(args, line, _limit(args), change="key limit"))
    revoke = add_command(
        verbs,
        "revoke",
        help="revoke a key, on all servers",
        example="cacheserver key revoke ID",
        parents=[line.configured],
    )
    revoke.add_argument("id", help="id that `list` shows")
    add_json(revoke)
    revoke.set_defaults(
        run=lambda args: _with_tenants(args, line, _revoke(args), change="key revoke")
    )
    unlock = add_command(
        verbs,
        "open",
        help="allow requests from this machine without a key again",
        example="cacheserver key open --yes",
        parents=[line.configured],
    )
    unlock.add_argument("--yes", action="store_true", required=True, help="confirm")
    add_json(unlock)
    unlock.set_defaults(run=lambda args: _with_tenants(args, line, _open(args), change="key open"))
    admin_key_command.add(line, expiring)


Command = Callable[["Tenants"], Coroutine[Any, Any, None]]


def _create(args: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        key, plain = await tenants.create_key(
            args.tenant,
            args.label,
            expires_at=moment(args.expires),
            limits=_limits(args),
            role=args.role,
        )
        print_new(args, _json(key), plain, f"Key {key.id} of tenant {key.tenant}. {ONCE}")

    return run


def _list(args: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        found = await tenants.list_keys()
        if args.json:
            print_json({"items": [_json(key) for key in found], "next": None})
        else:
            _print_keys(found)

    return run


def _print_keys(keys: Iterable[ApiKey]) -> None:
    for key in keys:
        facts = [f"used {key.last_used or 'never'}"]
        if key.role != "ask":
            facts.append(key.role)
        if key.expires_at is not None:
            over = key.expires_at <= time.time()
            facts.append(f"{'expired' if over else 'expires'} {shown(key.expires_at)}")
        if key.overlaps_until is not None and key.overlaps_until > time.time():
            facts.append(f"the one before it until {shown(key.overlaps_until)}")
        set_ = asdict(key.limits).items()
        facts += [f"{name} {value}" for name, value in set_ if value is not None]
        line = f"{key.id}  {shown(key.created_at)}  {key.tenant}  {key.label}".rstrip()
        print(f"{line}  ({'; '.join(facts)})")


def _rotate(args: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        overlap_s = key_times.seconds("overlap", args.overlap)
        key, plain = await tenants.rotate_key(
            args.id, overlap_s=overlap_s, expires_at=moment(args.expires)
        )
        until = "is refused"
        if key.overlaps_until is not None:
            until = f"is taken until {shown(key.overlaps_until)}"
        done = f"Key {key.id} of tenant {key.tenant} is this one now; the one before it {until}."
        print_new(args, _json(key), plain, done)

    return run


def _limit(args: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        key = await tenants.limit_key(args.id, _limits(args))
        done = f"Key {key.id} of tenant {key.tenant} has these limits now."
        print_done(args, _json(key), done)

    return run


def _revoke(args: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        key = await tenants.revoke_key(args.id)
        done = f"Key {key.id} of tenant {key.tenant} is revoked: all servers refuse it."
        print_done(args, _json(key), done)

    return run


def _open(args: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        await tenants.open()
        done = "No key is needed on this machine any more, until the next one is created."
        print_done(args, {"open": True}, done)

    return run


def _json(key: ApiKey) -> dict[str, Any]:
    from cacheserver.tenants import api_key

    return api_key.shown(key)


def _limits(args: argparse.Namespace) -> Limits:
    from cacheserver.core.rules.limits import Limits
    from cacheserver.tenants import tenant_json

    given = {name: getattr(args, name) for name in Limits.__dataclass_fields__}
    return tenant_json.limits("limits", given)


def _with_tenants(
    args: argparse.Namespace, line: CommandLine, command: Command, *, change: str | None = None
) -> int:
    """Run a command on the tenants' keys; `change` is what the audit trail calls it."""
    settings = line.settings_of(args)

    async def run() -> None:
        from cacheserver.core.types import Tenant
        from cacheserver.tenants.store import Tenants

        async with connected(settings) as redis:
            tenants = Tenants(
                redis,
                prefix=settings.redis_prefix,
                defaults=Tenant(name="default"),
                access=settings.data_dir / "access",
                told=everywhere(redis, settings),
            )
            if change is not None:
                await record(redis, settings, change, args, tenant=await _tenant(tenants, args))
            await command(tenants)

    asyncio.run(run())
    return OK


async def _tenant(tenants: Tenants, args: argparse.Namespace) -> str | None:
    """Return the tenant that a command is about: the one it names, or that of the key."""
    if (key_id := getattr(args, "id", None)) is None:
        return getattr(args, "tenant", None)
    return (await tenants.find_key(key_id)).tenant
