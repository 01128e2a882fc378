"""Reader of log files: calls by time, with counts of records read and left out."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from cacheserver.analysis.audit.formats import (
    helicone,
    langfuse,
    litellm,
    messages,
    otel,
    usage_reports,
)
from cacheserver.analysis.audit.formats.containers import opened, records
from cacheserver.analysis.audit.formats.order import in_order
from cacheserver.analysis.audit.invoice import Invoice
from cacheserver.analysis.replay.call import Call
from cacheserver.core.errors import SettingsError

_UNKNOWN: Final = "of no format that is known"
_ODD: Final = usage_reports.ODD
_SHOWN: Final = 10
_DAY_S: Final = 86_400.0
DAYS: Final = 30


class Format(Protocol):
    """A log format: a module with `fits` and `call_of`.

    "model:" and what follows is another provider's; "skip:" and why is no call, and nothing bad.
    """

    def fits(self, record: Mapping[str, Any]) -> bool: ...
    def call_of(self, record: Mapping[str, Any], source: str) -> Call | str: ...


Progress = Callable[[int, int], None]  # bytes read, of so many

# Asked in this order; a record is read by the first that knows it.
FORMATS: Final[Mapping[str, Format]] = {
    "litellm": litellm,
    "helicone": helicone,
    "langfuse": langfuse,
    "otel": otel,
    "messages": messages,
}


@dataclass(slots=True)
class ReadLog:
    """Counts of records read so far."""

    files: int = 0
    lines: int = 0
    requests: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)  # other models, and times not asked for
    bad: int = 0
    shown: list[str] = field(default_factory=list)  # the first bad lines: where, and why
    without_prompt: int = 0
    first: float | None = None
    last: float | None = None
    invoice: Invoice = field(default_factory=Invoice)  # what reports say, apart from the requests

    def wrong(self, source: str, why: str) -> None:
        self.bad += 1
        if len(self.shown) < _SHOWN:
            self.shown.append(f"{source}: {why}")

    def leave_out(self, source: str, why: str) -> None:
        """Count a record without a call to Claude: malformed, or of another kind."""
        kind, _, rest = why.partition(":")
        match kind:
            case "model":
                self.skipped[f"another model: {rest}"] += 1
            case "skip":
                self.skipped[rest] += 1
            case _:
                self.wrong(source, why)


class Unreadable(SettingsError):
    """Raised if a path does not exist or is not readable."""


def calls(
    paths: Sequence[Path],
    *,
    since: float | None = None,
    until: float | None = None,
    reading: ReadLog,
    progress: Progress = lambda done, whole: None,
    workdir: Path | None = None,
) -> Iterator[Call]:
    """Yield every call of the files, oldest first. `since` None: the last 30 days of the log.

    Raises `Unreadable` for a path that is not there. What comes first cannot be told before all is
    read, so nothing comes before that.
    """
    files = files_of(paths)
    newest = 0.0

    def noted() -> Iterator[Call]:
        nonlocal newest
        for call in _read(files, reading, progress):
            if until is not None and call.at >= until:
                reading.skipped["after the time asked for"] += 1
                continue
            newest = max(newest, call.at)
            yield call

    for call in in_order(noted(), workdir):
        if call.at < (newest - DAYS * _DAY_S if since is None else since):
            reading.skipped["before the time asked for"] += 1
            continue
        reading.requests += 1
        reading.without_prompt += call.body is None
        reading.first = call.at if reading.first is None else reading.first
        reading.last = call.at
        yield call


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files, those of a folder by name. Raises `Unreadable`."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(one for one in path.rglob("*") if one.is_file())
        elif path.is_file():
            found.append(path)
        else:
            raise Unreadable(f"`{path}`: there is no such file")
    return found


def size_of(files: Sequence[Path]) -> int:
    """Return the size of the files in bytes, as compressed."""
    return sum(path.stat().st_size for path in files)


def _read(files: Sequence[Path], reading: ReadLog, progress: Progress) -> Iterator[Call]:
    whole, before = size_of(files), 0
    for path in files:
        reading.files += 1
        number = 0
        try:
            with path.open("rb") as raw:
                for where, record in records(opened(raw), path.name):
                    number += 1
                    if number % 256 == 0:
                        progress(before + raw.tell(), whole)
                    call = _call(record, where, reading)
                    if call is not None:
                        yield call
        except (OSError, EOFError, zlib.error) as error:
            reading.lines += 1  # what is left of it, however much that was
            reading.wrong(path.name, f"the file ends here: {type(error).__name__}")
        before += path.stat().st_size
        progress(before, whole)


def _call(record: Mapping[str, Any] | str, source: str, reading: ReadLog) -> Call | None:
    reading.lines += 1
    if isinstance(record, str):
        reading.wrong(source, record)
        return None
    if usage_reports.fits(record):
        book(record, source, reading)
        return None
    try:
        name = next((name for name, module in FORMATS.items() if module.fits(record)), None)
        found = _UNKNOWN if name is None else FORMATS[name].call_of(record, source)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError):
        found = _ODD
    if isinstance(found, str):
        reading.leave_out(source, found)
        return None
    assert name is not None
    reading.formats[name] += 1
    return found


def book(record: Mapping[str, Any], source: str, reading: ReadLog) -> None:
    """Enter a stretch of one of Anthropic's own usage_reports."""
    try:
        for found in usage_reports.buckets_of(record):
            if isinstance(found, str):
                reading.leave_out(source, found)
            else:
                reading.formats["anthropic report"] += 1
                reading.invoice.add(found)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError):
        reading.wrong(source, _ODD)
