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

from cacheserver.core.command_line import CommandLine, add_command, say

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings


def add(line: CommandLine) -> None:
    """Add the commands to the parser's."""
    backup = add_command(
        line.commands,
        "backup",
        help="write everything stored to one file",
        example="cacheserver backup /backups/monday.bin",
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="file to write; it must not exist")
    backup.set_defaults(run=_backup, interrupted="no backup was written; run it again")
    restore = add_command(
        line.commands,
        "restore",
        help="restore a backup",
        example="cacheserver restore /backups/monday.bin --replace",
    )
    restore.add_argument("file", type=Path, metavar="FILE", help="file that `backup` wrote")
    restore.add_argument(
        "--keys",
        type=Path,
        metavar="KEYS",
        help="file of the tenants' keys, for an encrypted backup (default: FILE.keys)",
    )
    restore.add_argument(
        "--replace",
        action="store_true",
        help="replace what is stored; the old files are moved aside",
    )
    restore.set_defaults(run=_restore, interrupted="run it again, with --replace")


def _backup(args: argparse.Namespace) -> int:
    from cacheserver.backup.backup import save

    return _run(lambda settings: save(settings, args.file, say))


def _restore(args: argparse.Namespace) -> int:
    from cacheserver.backup.restore import load

    return _run(
        lambda settings: load(settings, args.file, replace=args.replace, say=say, keys=args.keys)
    )


def _run(work: Callable[[Settings], Coroutine[Any, Any, None]]) -> int:
    from cacheserver.config import settings as config

    asyncio.run(work(config.load()))
    return 0
