"""The process of one audit: the command line's own audit, at the lowest priority.

Rule: it gets the settings that an audit reads and no key of the server's. It ends with the server:
the first line of progress that nobody reads ends it. A log that grows as it is unpacked, or has one
record of gigabytes, ends its audit and nothing else: memory and files have limits, and where the
machine has no memory left, the audit goes first.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from cacheserver.audit_jobs.folder import TEMPORARY
from cacheserver.audit_jobs.job import AuditProgress, read_progress

NICE: Final = 19  # the least that Linux gives; requests go first
_SAYS: Final = "cacheserver: "  # begins an error of the command
_MEMORY_ERRORS: Final = ("MemoryError", "numpy._core._exceptions._ArrayMemoryError")
_LONGEST: Final = 500  # characters of an error that are kept

# Of address space. An audit takes 1.2 GB on two cores (measured); each core adds threads, and each
# thread reserves some 100 MB. A record that does not fit in the rest is no request.
MEMORY_BYTES: Final = (4 << 30) + (os.cpu_count() or 1) * (256 << 20)
_OOM_FIRST: Final = "1000"  # of `oom_score_adj`: before any other process of the machine

_NO_MEMORY: Final = (
    "it needs more memory than an audit may take: a record is too large; send a part of the log"
)


class AuditProcess:
    """Runs `cacheserver audit` once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    async def run(
        self,
        words: Sequence[str],
        folder: Path,
        progress: Callable[[AuditProgress], object],
        *,
        most_file: int,
    ) -> tuple[int, str | None]:
        """Return the exit status and the error that the command printed.

        Cancelling ends it, and so does an error that `progress` raises, which is raised here.
        `most_file`: bytes of its largest file.
        """
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
            _limit(child.pid, most_file)
            assert child.stderr is not None
            async for line in _lines(child.stderr):
                if (found := _progress(line)) is not None:
                    progress(found)
                elif line.startswith(_SAYS):
                    error = line.removeprefix(_SAYS).replace(f"{folder}/", "")[:_LONGEST]
                elif line.startswith(_MEMORY_ERRORS):
                    error = _NO_MEMORY
            status = await child.wait()
            return status, _NO_MEMORY if status == -signal.SIGKILL else error
        finally:
            await asyncio.shield(_end(child))


def _limit(pid: int, most_file: int) -> None:
    """Limit what a process may take, where the system can (Linux)."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        resource.prlimit(pid, resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_file, most_file))
        Path(f"/proc/{pid}/oom_score_adj").write_text(_OOM_FIRST)


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
