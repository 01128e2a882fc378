"""`cacheserver key` and `cacheserver admin-key`: the keys of tenants and of admins.

Rule: a change is in the audit trail before it is made.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cacheserver.core.command_line import CommandLine, add_command, add_json, print_json, say
from cacheserver.tenants import key_times

if TYPE_CHECKING:  # imported as a command runs
    from cacheserver.config.settings import Settings
    from cacheserver.core.rules.limits import Limits
    from cacheserver.storage.connection import Connection
    from cacheserver.tenants.admin_keys import AdminKey, AdminKeys
    from cacheserver.tenants.api_key import ApiKey
    from cacheserver.tenants.store import Tenants


def add(line: CommandLine) -> None:
    """Add the commands. Nothing heavy is imported until one runs."""
    key = add_command(line.commands, "key", help="create, list, rotate, limit and revoke API keys")
    verbs = key.add_subparsers(title="commands", required=True, metavar="COMMAND")
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
    create.add_argument("--tenant", required=True, help="tenant that the key belongs to")
    create.add_argument("--label", default="", help="a name for the list of keys")
    create.add_argument(
        "--role",
        choices=("ask", "write"),
        default="ask",
        help="ask (default); write: also stores answers of its own",
    )
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
    limit.set_defaults(run=lambda args: _with_tenants(args, line, _limit(args), change="key limit"))
    revoke = add_command(
        verbs,
        "revoke",
        help="revoke a key, within seconds",
        example="cacheserver key revoke ID",
        parents=[line.configured],
    )
    revoke.add_argument("id", help="id that `list` shows")
    revoke.set_defaults(
        run=lambda args: _with_tenants(args, line, _revoke(args.id), change="key revoke")
    )
    unlock = add_command(
        verbs,
        "open",
        help="allow requests from this machine without a key again",
        example="cacheserver key open --yes",
        parents=[line.configured],
    )
    unlock.add_argument("--yes", action="store_true", required=True, help="confirm")
    unlock.set_defaults(run=lambda args: _with_tenants(args, line, _open, change="key open"))
    _add_admin_keys(line, expiring)


def _add_admin_keys(line: CommandLine, expiring: argparse.ArgumentParser) -> None:
    admin_key = add_command(
        line.commands, "admin-key", help="create, list and revoke named admin keys"
    )
    verbs = admin_key.add_subparsers(title="commands", required=True, metavar="COMMAND")
    create = add_command(
        verbs,
        "create",
        help="create an admin key and print it, once",
        example="cacheserver admin-key create --name ann --role tune --expires 90d",
        parents=[line.configured, expiring],
    )
    create.add_argument("--name", required=True, help="its name in the audit trail")
    create.add_argument(
        "--role", required=True, help="read; tune: bars, labels, entries, alerts, prices; all"
    )
    create.set_defaults(
        run=lambda args: _with_admins(args, line, _create_admin(args), change="admin-key create")
    )
    listing = add_command(
        verbs,
        "list",
        help="list all admin keys",
        example="cacheserver admin-key list",
        parents=[line.configured],
    )
    add_json(listing)
    listing.set_defaults(run=lambda args: _with_admins(args, line, _list_admins(args)))
    revoke = add_command(
        verbs,
        "revoke",
        help="revoke an admin key, within seconds",
        example="cacheserver admin-key revoke ID",
        parents=[line.configured],
    )
    revoke.add_argument("id", help="id that `list` shows")
    revoke.set_defaults(
        run=lambda args: _with_admins(args, line, _revoke_admin(args.id), change="admin-key revoke")
    )


Command = Callable[["Tenants"], Coroutine[Any, Any, None]]
AdminCommand = Callable[["AdminKeys"], Coroutine[Any, Any, None]]


def _create_admin(args: argparse.Namespace) -> AdminCommand:
    async def run(keys: AdminKeys) -> None:
        key, plain = await keys.create(args.name, args.role, expires_at=_moment(args.expires))
        print(plain)
        say(f"Admin key {key.id} ({key.name}, {key.role}). It is kept hashed and not shown again.")

    return run


def _list_admins(args: argparse.Namespace) -> AdminCommand:
    async def run(keys: AdminKeys) -> None:
        found = await keys.list()
        if args.json:
            print_json({"items": [asdict(key) for key in found], "next": None})
        else:
            _print_admins(found)

    return run


def _print_admins(keys: Iterable[AdminKey]) -> None:
    for key in keys:
        facts = [f"used {'never' if key.last_used_at is None else _shown(key.last_used_at)}"]
        if key.expires_at is not None:
            over = key.expires_at <= time.time()
            facts.append(f"{'expired' if over else 'expires'} {_shown(key.expires_at)}")
        if key.damaged:
            facts = ["its record cannot be read; revoke it"]
        print(f"{key.id}  {_shown(key.created_at)}  {key.role}  {key.name}  ({'; '.join(facts)})")


def _revoke_admin(key_id: str) -> AdminCommand:
    async def run(keys: AdminKeys) -> None:
        key = await keys.revoke(key_id)
        say(f"Admin key {key.id} ({key.name}) is revoked; servers refuse it within seconds.")

    return run


def _create(args: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        key, plain = await tenants.create_key(
            args.tenant,
            args.label,
            expires_at=_moment(args.expires),
            limits=_limits(args),
            role=args.role,
        )
        print(plain)
        say(f"Key {key.id} of tenant {key.tenant}. It is kept hashed and not shown again.")

    return run


def _list(args: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        found = await tenants.list_keys()
        if args.json:
            print_json({"items": [asdict(key) for key in found], "next": None})
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
            facts.append(f"{'expired' if over else 'expires'} {_shown(key.expires_at)}")
        if key.overlaps_until is not None and key.overlaps_until > time.time():
            facts.append(f"the one before it until {_shown(key.overlaps_until)}")
        set_ = asdict(key.limits).items()
        facts += [f"{name} {value}" for name, value in set_ if value is not None]
        line = f"{key.id}  {_shown(key.created_at)}  {key.tenant}  {key.label}".rstrip()
        print(f"{line}  ({'; '.join(facts)})")


def _rotate(args: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        overlap_s = key_times.seconds("overlap", args.overlap)
        key, plain = await tenants.rotate_key(
            args.id, overlap_s=overlap_s, expires_at=_moment(args.expires)
        )
        print(plain)
        until = "is refused within seconds"
        if key.overlaps_until is not None:
            until = f"is taken until {_shown(key.overlaps_until)}"
        say(f"Key {key.id} of tenant {key.tenant} is this one now; the one before it {until}.")

    return run


def _limit(args: argparse.Namespace) -> Command:
    async def run(tenants: Tenants) -> None:
        key = await tenants.limit_key(args.id, _limits(args))
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

        async with _connected(settings) as redis:
            tenants = Tenants(
                redis,
                prefix=settings.redis_prefix,
                defaults=Tenant(name="default"),
                access=settings.data_dir / "access",
            )
            if change is not None:
                await _record(redis, settings, change, args, tenant=await _tenant(tenants, args))
            await command(tenants)

    asyncio.run(run())
    return 0


def _with_admins(
    args: argparse.Namespace, line: CommandLine, command: AdminCommand, *, change: str | None = None
) -> int:
    """Run a command on the admin keys; `change` is what the audit trail calls it."""
    settings = line.settings_of(args)

    async def run() -> None:
        from cacheserver.tenants.admin_keys import AdminKeys

        async with _connected(settings) as redis:
            if change is not None:
                await _record(redis, settings, change, args)
            await command(AdminKeys(redis, prefix=settings.redis_prefix))

    asyncio.run(run())
    return 0


async def _tenant(tenants: Tenants, args: argparse.Namespace) -> str | None:
    """Return the tenant that a command is about: the one it names, or that of the key."""
    if (key_id := getattr(args, "id", None)) is None:
        return getattr(args, "tenant", None)
    return (await tenants.find_key(key_id)).tenant


async def _record(
    redis: Connection,
    settings: Settings,
    change: str,
    args: argparse.Namespace,
    *,
    tenant: str | None = None,
) -> None:
    """Record a change in the audit trail. Who made it is the user of this machine."""
    from cacheserver.tenants.audit_trail import AuditTrail, by_command

    target = {
        name: str(value)[:200]
        for name in ("id", "name", "role")
        if (value := getattr(args, name, None)) is not None
    }
    record = by_command(change, tenant=tenant, target=target)
    await AuditTrail(redis, prefix=settings.redis_prefix).add(record)


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Connection]:
    """Yield the store of a server that runs, else of one for the moment."""
    from cacheserver.config import settings as config
    from cacheserver.embedded import command_connection, store

    url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    unserved = url is None and store.running_url(settings.data_dir) is None
    async with command_connection.open_connection(
        url,
        data_dir=settings.data_dir,
        prefix=settings.redis_prefix,
        tls=config.tls(settings),
    ) as redis:
        yield redis
    if unserved:  # a key in another store than the server's is one that the server does not know
        say(
            f"No server runs on the data in {settings.data_dir}. These are the keys of one that is "
            "started with this `CACHESERVER_DATA_DIR`."
        )
