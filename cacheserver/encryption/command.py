"""Commands for encryption at rest: master keys rotated, tenants' keys kept beside backups.

    cacheserver encryption rotate       while servers run that know both master keys, or none runs
    cacheserver encryption keys FILE    write the tenants' keys, as `backup` does

Rule: one tenant's keys after the other are wrapped anew, each in one step. Killed anywhere, the
old and the new master key named together open everything, and the command goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cacheserver.core.command_line import CommandLine, add_command, say
from cacheserver.core.errors import SettingsError

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings
    from cacheserver.encryption.data_keys import DataKeys
    from cacheserver.storage.connection import Connection

Say = Callable[[str], None]
Recording: TypeAlias = "Callable[[Connection, Settings, str], Awaitable[None]]"


def add(line: CommandLine) -> None:
    """Add the commands to the parser's."""
    encryption = add_command(
        line.commands, "encryption", help="rotate and back up the encryption keys"
    )
    verbs = encryption.add_subparsers(title="commands", required=True, metavar="COMMAND")
    again = add_command(
        verbs,
        "rotate",
        help="wrap all data keys with the current master key; new data has new keys",
        example="cacheserver encryption rotate",
        parents=[line.configured],
    )
    again.set_defaults(
        run=lambda args: _run(args, lambda settings: rotate(settings, say, line.record)),
        interrupted="keys are whole, some under each master key; run it again to go on",
    )
    keys = add_command(
        verbs,
        "keys",
        help="write the tenants' wrapped keys to a file, for backups",
        example="cacheserver encryption keys /backups/monday.keys",
        parents=[line.configured],
    )
    keys.add_argument(
        "file", type=Path, metavar="FILE", help="file to write; an existing one is replaced"
    )
    keys.set_defaults(
        run=lambda args: _run(args, lambda settings: save_keys(settings, args.file, say))
    )


def _run(args: argparse.Namespace, work: Callable[[Settings], Coroutine[Any, Any, None]]) -> int:
    from cacheserver.config import settings as config

    asyncio.run(work(config.load(file=args.config)))
    return 0


async def rotate(settings: Settings, say: Say, record: Recording) -> None:
    """Rotate the keys of every tenant. Raises `SettingsError`, `StoreError`.

    It is recorded first, so that one that was killed half way is in the audit trail too.
    """
    async with _keys(settings) as (keys, redis):
        await record(redis, settings, "encryption rotate")
        tenants = await keys.tenants()
        for tenant in tenants:
            await keys.rotate(tenant)
        say(
            f"{len(tenants)} keys are wrapped by the current master key; what is written from now "
            "on is encrypted under new ones. The old one still opens what was backed up before."
        )


async def save_keys(settings: Settings, path: Path, say: Say) -> None:
    """Write the tenants' keys to `path`. Raises `SettingsError`, `StoreError`."""
    from cacheserver.encryption import key_file

    async with _keys(settings) as (keys, _):
        rows = await keys.rows()
        key_file.write(path, rows)
        say(f"{path}: {len(rows)} keys, each wrapped by the master key.")


@asynccontextmanager
async def _keys(settings: Settings) -> AsyncIterator[tuple[DataKeys, Connection]]:
    from cacheserver.config import settings as config
    from cacheserver.embedded import command_connection
    from cacheserver.encryption.build import read_master_keys
    from cacheserver.encryption.data_keys import DataKeys

    masters = read_master_keys(settings)
    if masters is None:
        raise SettingsError("`CACHESERVER_ENCRYPTION_KEY_FILE`: without it nothing is encrypted")
    url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    prefix = settings.redis_prefix
    async with command_connection.open_connection(
        url, data_dir=settings.data_dir, prefix=prefix, tls=config.tls(settings)
    ) as redis:
        yield DataKeys(redis, prefix=prefix, masters=masters), redis
