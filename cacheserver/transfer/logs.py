"""Past calls of logs, as records of an import: the readers are those of `audit`.

Rule: what a log says was asked by several (tenants, teams or users) is never one tenant's, unless
an operator says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from cacheserver.analysis.audit.formats.reading import ReadLog, calls
from cacheserver.core.terminal.counts import counted
from cacheserver.transfer.records import Problem

ANYBODY: Final = "*"  # no tenant's name in a log


def read_logs(
    paths: Sequence[Path], *, asked_by: str | None = None
) -> Iterator[dict[str, Any] | Problem]:
    """Yield the answered calls of files and folders, oldest first, of the last 30 days of the log.

    `asked_by`: only those that the log says are of this tenant, team or user; `ANYBODY`: all; None:
    those of who asked first. Raises `Unreadable` for a path that is not there.
    """
    reading, others = ReadLog(), 0
    for call in calls(paths, reading=reading):
        asked_by = asked_by or call.tenant
        if asked_by not in (ANYBODY, call.tenant):
            others += 1
            continue
        if call.body is None or call.message is None:
            yield Problem(call.source, "has no prompt or no answer")
        elif call.status != 200:
            yield Problem(call.source, f"failed with status {call.status}")
        else:
            yield {
                "where": call.source,
                "at": call.at,
                "headers": dict(call.headers),
                "request": dict(call.body),
                "message": dict(call.message),
            }
    for line in reading.shown:
        where, _, why = line.partition(": ")
        yield Problem(where, why)
    if others:
        yield Problem(
            "log", f"{counted(others, 'call')} not of `{asked_by}`, whose calls are imported"
        )
    more = reading.bad - len(reading.shown)
    if more > 0:
        yield Problem("log", f"{counted(more, 'more line')} could not be read")
    for why, count in reading.skipped.items():
        yield Problem("log", f"{count} left out: {why}")
