"""Command that repairs the embedded store: `cacheserver repair`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from cacheserver.core.command_line import CommandLine, add_command, say
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
    )
    repair.set_defaults(run=lambda args: _run(line))


def _run(line: CommandLine) -> int:
    from cacheserver.config import settings as config

    asyncio.run(repair(config.load(), line.record))
    return 0


async def repair(settings: Settings, record: Recording) -> None:
    """Cut off what damages the embedded store's files. Raises `SettingsError`.

    It is recorded afterwards, for the trail is in the store that was damaged.
    """
    from cacheserver.embedded.store import EmbeddedStore

    if settings.redis_url is not None:
        raise SettingsError(
            "`CACHESERVER_REDIS_URL`: only the embedded store's files can be repaired"
        )
    done = await EmbeddedStore(settings.data_dir).repair()
    for sentence in done:
        say(sentence)
    if not done:
        say("There is no damage.")
        return
    try:
        await _recorded(settings, record)
    except CacheServerError as error:
        say(f"The repair is not in the audit trail: {error}")
    else:
        say("The store can be started.")


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
