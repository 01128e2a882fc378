"""Command that repairs the embedded store: `cacheserver repair`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from cacheserver.core.command_line import (
    OK,
    CommandLine,
    add_command,
    add_json,
    print_done,
)
from cacheserver.core.errors import CacheServerError, SettingsError

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings
    from cacheserver.storage.connection import Connection

Recording: TypeAlias = "Callable[[Connection, Settings, str], Awaitable[None]]"


def add(line: CommandLine) -> None:
    """Add the command to the parser's."""
    repair = add_command(
        line.commands,
        "repair",
        help="cut off damaged data that keeps the server from starting",
        example="cacheserver repair",
        parents=[line.configured],
    )
    add_json(repair)
    repair.set_defaults(
        run=lambda args: _run(args, line),
        interrupted="what was cut off is kept beside its file; run it again to go on",
    )


def _run(args: argparse.Namespace, line: CommandLine) -> int:
    done, unrecorded = asyncio.run(repair(line.settings_of(args), line.record))
    end = "The store can be started." if done else "There is no damage."
    if unrecorded is not None:  # which is why nothing is said of starting
        end = f"The repair is not in the audit trail: {unrecorded}"
    found = {"repaired": done, "unrecorded": unrecorded}
    print_done(args, found, "\n".join([*done, end]))
    return OK


async def repair(settings: Settings, record: Recording) -> tuple[list[str], str | None]:
    """Cut off what damages the embedded store's files. Raises `SettingsError`.

    Returns sentences on what was done, and why it could not be recorded (None: it was).
    It is recorded afterwards, for the trail is in the store that was damaged.
    """
    from cacheserver.embedded.store import EmbeddedStore

    if settings.redis_url is not None:
        raise SettingsError(
            "`CACHESERVER_REDIS_URL`: only the embedded store's files can be repaired"
        )
    done = await EmbeddedStore(settings.data_dir).repair()
    if done:
        try:
            await _recorded(settings, record)
        except CacheServerError as error:
            return done, str(error)
    return done, None


async def _recorded(settings: Settings, record: Recording) -> None:
    """Record the repair, for which the store is started. Raises `SettingsError`, `StoreError`."""
    from cacheserver.config import settings as config
    from cacheserver.embedded import command_connection

    async with command_connection.open_connection(
        None,
        data_dir=settings.data_dir,
        prefix=settings.redis_prefix,
        tls=config.tls(settings),
    ) as redis:
        await record(redis, settings, "repair")
