"""The process of one audit: the command line's own audit, at the lowest priority.

Rule: it gets the settings that an audit reads and no key of the server's. It ends with the server:
the first line of progress that nobody reads ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from cacheserver.audit_jobs.job import AuditProgress, read_progress

NICE: Final = 19  # the least that Linux gives; requests go first
_SAYS: Final = "cacheserver: "  # begins an error of the command
_LONGEST: Final = 500  # characters of an error that are kept

TEMPORARY: Final = "tmp"  # the folder for what is sorted through disk: it holds prompts


class AuditProcess:
    """Runs `cacheserver audit` once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    async def run(
        self, words: Sequence[str], folder: Path, progress: Callable[[AuditProgress], object]
    ) -> tuple[int, str | None]:
        """Return the exit status and the error that the command printed. Cancelling ends it."""
        temporary = folder / TEMPORARY
        await asyncio.to_thread(temporary.mkdir, mode=0o700, exist_ok=True)
        pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cacheserver.cli", *words),
            stdin=nowhere,
            stdout=nowhere,
            stderr=pipe,
            env={**self._environment, "TMPDIR": str(temporary)},
            start_new_session=True,  # Ctrl-C is the server's; it ends its audit itself
        )
        error: str | None = None
        try:
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, child.pid, NICE)
            assert child.stderr is not None
            async for line in _lines(child.stderr):
                if (found := _progress(line)) is not None:
                    progress(found)
                elif line.startswith(_SAYS):
                    error = line.removeprefix(_SAYS).replace(f"{folder}/", "")[:_LONGEST]
            return await child.wait(), error
        finally:
            await asyncio.shield(_end(child))


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill a process that has not ended: nothing of an unfinished audit is of use."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # longer than the reader holds: nothing of ours
            continue
        if not line:
            return
        yield line.decode(errors="replace").strip()


def _progress(line: str) -> AuditProgress | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return read_progress(found) if isinstance(found, dict) else None
