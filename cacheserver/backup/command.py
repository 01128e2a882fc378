"""Commands for backups.

cacheserver backup FILE                 while the server runs, or not
cacheserver restore FILE [--replace]    with the server stopped
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cacheserver.core.command_line import CommandLine, say

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings


def add(line: CommandLine) -> None:
    """Add the commands to the parser's."""
    backup = line.commands.add_parser("backup", help="write all that is stored to one file")
    backup.add_argument("file", type=Path, metavar="FILE", help="a new one; none is replaced")
    backup.set_defaults(run=_backup)
    restore = line.commands.add_parser("restore", help="bring back what a backup holds")
    restore.add_argument("file", type=Path, metavar="FILE", help="as `backup` wrote it")
    restore.add_argument(
        "--keys",
        type=Path,
        metavar="KEYS",
        help="the tenants' keys, of an encrypted one; FILE.keys if not named",
    )
    restore.add_argument(
        "--replace", action="store_true", help="in place of what is stored, which is kept aside"
    )
    restore.set_defaults(run=_restore)


def _backup(asked: argparse.Namespace) -> int:
    from cacheserver.backup.backup import save

    return _run(lambda settings: save(settings, asked.file, say))


def _restore(asked: argparse.Namespace) -> int:
    from cacheserver.backup.restore import load

    return _run(
        lambda settings: load(settings, asked.file, replace=asked.replace, say=say, keys=asked.keys)
    )


def _run(work: Callable[[Settings], Coroutine[Any, Any, None]]) -> int:
    from cacheserver.config import settings as config

    asyncio.run(work(config.load()))
    return 0
