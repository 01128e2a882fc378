"""`cacheserver admin-key`: the named keys of admins."""

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
    from cacheserver.tenants.admin_keys import AdminKey, AdminKeys

AdminCommand = Callable[["AdminKeys"], Coroutine[Any, Any, None]]


def add(line: CommandLine, expiring: argparse.ArgumentParser) -> None:
    """Add the commands; `expiring` is a parent with `--expires`."""
    admin_key = add_command(
        line.commands, "admin-key", help="create, list and revoke named admin keys"
    )
    verbs = add_verbs(admin_key)
    create = add_command(
        verbs,
        "create",
        help="create an admin key and print it, once",
        example="cacheserver admin-key create --name ann --role tune --expires 90d",
        parents=[line.configured, expiring],
    )
    create.add_argument("--name", required=True, help="its name in the audit trail")
    create.add_argument(
        "--role",
        required=True,
        choices=("read", "tune", "all"),
        help="read: changes nothing; tune: bars, labels, entries, alerts, prices; all: everything",
    )
    add_json(create)
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
        help="revoke an admin key, on all servers",
        example="cacheserver admin-key revoke ID",
        parents=[line.configured],
    )
    revoke.add_argument("id", help="id that `list` shows")
    add_json(revoke)
    revoke.set_defaults(
        run=lambda args: _with_admins(args, line, _revoke_admin(args), change="admin-key revoke")
    )


def _create_admin(args: argparse.Namespace) -> AdminCommand:
    async def run(keys: AdminKeys) -> None:
        key, plain = await keys.create(args.name, args.role, expires_at=moment(args.expires))
        about = f"Admin key {key.id} ({key.name}, {key.role})."
        print_new(args, asdict(key), plain, f"{about} {ONCE}")

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
        facts = [f"used {'never' if key.last_used_at is None else shown(key.last_used_at)}"]
        if key.expires_at is not None:
            over = key.expires_at <= time.time()
            facts.append(f"{'expired' if over else 'expires'} {shown(key.expires_at)}")
        if key.damaged:
            facts = ["its record cannot be read; revoke it"]
        print(f"{key.id}  {shown(key.created_at)}  {key.role}  {key.name}  ({'; '.join(facts)})")


def _revoke_admin(args: argparse.Namespace) -> AdminCommand:
    async def run(keys: AdminKeys) -> None:
        key = await keys.revoke(args.id)
        done = f"Admin key {key.id} ({key.name}) is revoked: all servers refuse it."
        print_done(args, asdict(key), done)

    return run


def _with_admins(
    args: argparse.Namespace, line: CommandLine, command: AdminCommand, *, change: str | None = None
) -> int:
    """Run a command on the admin keys; `change` is what the audit trail calls it."""
    settings = line.settings_of(args)

    async def run() -> None:
        from cacheserver.tenants.admin_keys import AdminKeys

        async with connected(settings) as redis:
            if change is not None:
                await record(redis, settings, change, args)
            told = everywhere(redis, settings)
            await command(AdminKeys(redis, prefix=settings.redis_prefix, told=told))

    asyncio.run(run())
    return OK
