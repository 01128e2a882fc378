"""Command that repairs the embedded store: `cacheserver repair`."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from cacheserver.core.command_line import CommandLine, add_command, say
from cacheserver.core.errors import SettingsError

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings


def add(line: CommandLine) -> None:
    """Add the command to the parser's."""
    repair = add_command(
        line.commands,
        "repair",
        help="cut off damaged data that keeps the server from starting",
        example="cacheserver repair",
    )
    repair.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from cacheserver.config import settings as config

    asyncio.run(repair(config.load()))
    return 0


async def repair(settings: Settings) -> None:
    """Cut off what damages the embedded store's files. Raises `SettingsError`."""
    from cacheserver.embedded.store import EmbeddedStore

    if settings.redis_url is not None:
        raise SettingsError(
            "`CACHESERVER_REDIS_URL`: only the embedded store's files can be repaired"
        )
    done = await EmbeddedStore(settings.data_dir).repair()
    for sentence in done:
        say(sentence)
    say("The store can be started." if done else "There is no damage.")
