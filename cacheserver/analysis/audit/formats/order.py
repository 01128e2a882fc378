"""External sort of calls by time, in bounded memory."""

from __future__ import annotations

import heapq
import pickle
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

from cacheserver.analysis.replay.call import Call

_RUN: Final = 20_000  # calls sorted in memory at once
_FILES: Final = 64  # runs merged at once


def in_order(
    calls: Iterable[Call], folder: Path | None = None, *, run: int = _RUN
) -> Iterator[Call]:
    """Yield the calls by time; the sort is stable. More than one run goes through disk."""
    held: list[Call] = []
    with ExitStack() as stack:
        spilled: list[Path] = []
        place: Path | None = None
        for call in calls:
            held.append(call)
            if len(held) < run:
                continue
            if place is None:
                made = tempfile.TemporaryDirectory(prefix="cacheserver-audit-", dir=folder)
                place = Path(stack.enter_context(made))
            spilled.append(_spill(sorted(held, key=_at), place / f"run-{len(spilled)}"))
            held = []
        held.sort(key=_at)
        if place is None:
            yield from held
            return
        level = 0
        while len(spilled) >= _FILES:  # merged in turns, neighbours first: what came first stays so
            level += 1
            spilled = [
                _spill(_merged(spilled[at : at + _FILES]), place / f"merge-{level}-{at}")
                for at in range(0, len(spilled), _FILES)
            ]
        yield from heapq.merge(*(_read(path) for path in spilled), held, key=_at)


def _at(call: Call) -> float:
    return call.at


def _merged(paths: list[Path]) -> Iterator[Call]:
    yield from heapq.merge(*(_read(path) for path in paths), key=_at)
    for path in paths:
        path.unlink()


def _spill(calls: Iterable[Call], path: Path) -> Path:
    with path.open("wb") as file:
        for call in calls:
            pickle.dump(call, file, protocol=5)
    return path


def _read(path: Path) -> Iterator[Call]:
    with path.open("rb") as file:
        yield from _each(file)


def _each(file: BinaryIO) -> Iterator[Call]:
    while True:
        try:
            call: Call = pickle.load(file)  # our own, written a moment ago
        except EOFError:
            return
        yield call
