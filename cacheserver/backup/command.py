"""Commands for backups.

cacheserver backup FILE                 while the server runs, or not
cacheserver restore FILE [--replace]    with the server stopped
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from cacheserver.core.command_line import (
    OK,
    CommandLine,
    add_command,
    add_json,
    print_done,
    say,
)
from cacheserver.core.terminal.counts import counted
from cacheserver.core.terminal.progress import Progress


def add(line: CommandLine) -> None:
    """Add the commands to the parser's."""
    backup = add_command(
        line.commands,
        "backup",
        help="write everything stored to one file",
        example="cacheserver backup /backups/monday.bin",
        parents=[line.configured],
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="file to write; it must not exist")
    add_json(backup)
    backup.set_defaults(
        run=lambda args: _backup(args, line),
        interrupted="no backup was written; run it again",
    )
    restore = add_command(
        line.commands,
        "restore",
        help="restore a backup",
        example="cacheserver restore /backups/monday.bin --replace",
        parents=[line.configured],
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
    add_json(restore)
    restore.set_defaults(
        run=lambda args: _restore(args, line), interrupted="nothing was changed; run it again"
    )


def _backup(args: argparse.Namespace, line: CommandLine) -> int:
    from cacheserver.backup.backup import save

    with Progress(only_terminal=True) as progress:
        saved = asyncio.run(save(line.settings_of(args), args.file, progress=progress))
    parts = f"{counted(saved.keys, 'key')} and {counted(saved.files, 'file')} of the ledger"
    keys_file = None if saved.keys_file is None else str(saved.keys_file)
    found = {
        "file": str(args.file),
        "keys": saved.keys,
        "files": saved.files,
        "keys_file": keys_file,
    }
    print_done(args, found, f"{args.file}: {parts}.")
    if keys_file is not None and not args.json:
        say(f"{keys_file}: the tenants' keys, without which it cannot be read.")
    return OK


def _restore(args: argparse.Namespace, line: CommandLine) -> int:
    from cacheserver.backup.restore import load

    progress = Progress(only_terminal=True)

    def begin(kept: Path | None) -> None:
        if kept is not None:
            progress.end()
            say(f"What was there before is kept in {kept}.")
        args.interrupted = "no server starts on a part of a backup; run it again, with --replace"

    with progress:
        kept = asyncio.run(
            load(
                line.settings_of(args),
                args.file,
                replace=args.replace,
                keys=args.keys,
                progress=progress,
                begin=begin,
            )
        )
    found = {"file": str(args.file), "kept": None if kept is None else str(kept)}
    print_done(args, found, f"{args.file} is restored.")
    return OK
