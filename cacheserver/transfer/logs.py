"""Past calls of logs, as records of an import: the readers are those of `audit`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cacheserver.analysis.audit.formats.reading import ReadLog, calls
from cacheserver.transfer.records import Problem


def read_logs(
    paths: Sequence[Path], *, tenant: str | None = None
) -> Iterator[dict[str, Any] | Problem]:
    """Yield the answered calls of files and folders, oldest first, of the last 30 days of the log.

    `tenant`: only those that the log says are of this one. Raises `Unreadable` for a path that is
    not there.
    """
    reading = ReadLog()
    for call in calls(paths, reading=reading):
        if tenant is not None and call.tenant != tenant:
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
    more = reading.bad - len(reading.shown)
    if more > 0:
        yield Problem("log", f"{more} more lines could not be read")
    for why, count in reading.skipped.items():
        yield Problem("log", f"{count} left out: {why}")
