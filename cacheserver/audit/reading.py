"""Log files to calls in the order they were made, with a count of what was read and what not."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, cast

from cacheserver import jsontext
from cacheserver.audit import litellm, messages
from cacheserver.audit.order import in_order
from cacheserver.errors import CacheServerError
from cacheserver.replay.call import Call

_GZIP: Final = b"\x1f\x8b"
_LINE: Final = 64 * 1024 * 1024  # bytes; twice the largest body the API takes
_SHOWN: Final = 10
_DAY_S: Final = 86_400.0
DAYS: Final = 30


class Format(Protocol):
    """A module for each: whether a record is of it, and the call it tells of, or why of none."""

    def fits(self, record: Mapping[str, Any]) -> bool: ...
    def call_of(self, record: Mapping[str, Any], source: str) -> Call | str: ...


Progress = Callable[[int, int], None]  # bytes read, of so many

# Asked in this order; a record is read by the first that knows it.
FORMATS: Final[Mapping[str, Format]] = {"litellm": litellm, "messages": messages}


@dataclass(slots=True)
class Reading:
    """What was read, growing as it is."""

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

    def wrong(self, source: str, why: str) -> None:
        self.bad += 1
        if len(self.shown) < _SHOWN:
            self.shown.append(f"{source}: {why}")


class Unreadable(CacheServerError):
    """A path that is not there, or may not be read."""


def calls(
    paths: Sequence[Path],
    *,
    since: float | None = None,
    until: float | None = None,
    reading: Reading,
    progress: Progress = lambda done, whole: None,
    workdir: Path | None = None,
) -> Iterator[Call]:
    """Every call of the files, oldest first; of the last 30 days of the log where `since` is None.

    Raises `Unreadable` for a path that is not there. What comes first cannot be told before all is
    read, so nothing comes before that.
    """
    files = _files(paths)
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


def _files(paths: Sequence[Path]) -> list[Path]:
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


def _read(files: Sequence[Path], reading: Reading, progress: Progress) -> Iterator[Call]:
    whole, before = sum(path.stat().st_size for path in files), 0
    for path in files:
        reading.files += 1
        number = 0
        try:
            with ExitStack() as stack:
                raw = stack.enter_context(path.open("rb"))
                lines: BinaryIO = raw
                if raw.peek(2)[:2] == _GZIP:
                    lines = cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=raw)))
                for line in _lines(lines):
                    number += 1
                    if number % 256 == 0:
                        progress(before + raw.tell(), whole)
                    call = _call(line, f"{path.name}:{number}", reading)
                    if call is not None:
                        yield call
        except (OSError, EOFError, zlib.error) as error:
            reading.wrong(
                f"{path.name}:{number + 1}", f"the file ends here: {type(error).__name__}"
            )
        before += path.stat().st_size
        progress(before, whole)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines; what is longer than any request comes in pieces, each of them bad."""
    while line := file.readline(_LINE):
        yield line


def _call(line: bytes, source: str, reading: Reading) -> Call | None:
    if not line.strip():
        return None
    reading.lines += 1
    try:
        record = jsontext.loads(line)
    except (ValueError, RecursionError):
        reading.wrong(source, "no JSON")
        return None
    if not isinstance(record, dict):
        reading.wrong(source, "no JSON object")
        return None
    name = next((name for name, known in FORMATS.items() if known.fits(record)), None)
    if name is None:
        reading.wrong(source, "of no format that is known")
        return None
    try:
        found = FORMATS[name].call_of(record, source)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError):
        found = "a field that holds something else than it should"
    if isinstance(found, str):
        if found.startswith("model:"):
            reading.skipped[f"another model: {found[6:]}"] += 1
        else:
            reading.wrong(source, found)
        return None
    reading.formats[name] += 1
    return found
