"""Commands for encryption at rest: master keys rotated, tenants' keys kept beside backups.

    cacheserver encryption rotate       while servers run that know both master keys, or none runs
    cacheserver encryption keys FILE    write the tenants' keys, as `backup` does

Rule: one tenant's keys after the other are wrapped anew, each in one step. Killed anywhere, the
old and the new master key named together open everything, and the command goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from cacheserver.core.command_line import (
    OK,
    CommandLine,
    add_command,
    add_json,
    add_verbs,
    print_done,
)
from cacheserver.core.errors import SettingsError
from cacheserver.core.terminal.counts import counted
from cacheserver.core.terminal.progress import Progress

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings
    from cacheserver.encryption.data_keys import DataKeys
    from cacheserver.storage.connection import Connection

Recording: TypeAlias = "Callable[[Connection, Settings, str], Awaitable[None]]"


def add(line: CommandLine) -> None:
    """Add the commands to the parser's."""
    encryption = add_command(
        line.commands, "encryption", help="rotate and back up the encryption keys"
    )
    verbs = add_verbs(encryption)
    again = add_command(
        verbs,
        "rotate",
        help="wrap all data keys with the current master key; new data has new keys",
        example="cacheserver encryption rotate",
        parents=[line.configured],
    )
    add_json(again)
    again.set_defaults(
        run=lambda args: _rotate(args, line),
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
    add_json(keys)
    keys.set_defaults(run=lambda args: _save_keys(args, line))


def _rotate(args: argparse.Namespace, line: CommandLine) -> int:
    with Progress(only_terminal=True) as progress:
        keys = asyncio.run(rotate(line.settings_of(args), progress, line.record))
    are = "is" if keys == 1 else "are"
    done = f"{counted(keys, 'key')} {are} wrapped by the current master key; what is written from "
    done += "now on is encrypted under new ones. The old one still opens what was backed up before."
    print_done(args, {"keys": keys}, done)
    return OK


def _save_keys(args: argparse.Namespace, line: CommandLine) -> int:
    keys = asyncio.run(save_keys(line.settings_of(args), args.file))
    done = f"{args.file}: {counted(keys, 'key')}, each wrapped by the master key."
    print_done(args, {"file": str(args.file), "keys": keys}, done)
    return OK


async def rotate(settings: Settings, progress: Progress, record: Recording) -> int:
    """Rotate the keys of every tenant; their number. Raises `SettingsError`, `StoreError`.

    It is recorded first, so that one that was killed half way is in the audit trail too.
    """
    async with _keys(settings) as (keys, redis):
        await record(redis, settings, "encryption rotate")
        tenants = await keys.tenants()
        for done, tenant in enumerate(tenants, 1):
            await keys.rotate(tenant)
            progress.count("rotating", "keys", done, len(tenants))
        return len(tenants)


async def save_keys(settings: Settings, path: Path) -> int:
    """Write the tenants' keys to `path`; their number. Raises `SettingsError`, `StoreError`."""
    from cacheserver.encryption import key_file

    async with _keys(settings) as (keys, _):
        rows = await keys.rows()
        key_file.write(path, rows)
        return len(rows)


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
