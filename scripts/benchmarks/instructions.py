"""Instructions of an exact hit, as callgrind counts them: they vary less than times do.

Hardware counters are seldom there for a guest. The ratio to the bare route's instructions in the
same process is compared with a line of docs/performance.md.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.benchmarks.processes.client import Client
from scripts.benchmarks.processes.load import NOWHERE, SERVER, started, temporary_folder
from scripts.benchmarks.processes.server import body, question
from scripts.benchmarks.rows import row
from scripts.benchmarks.run import Run

_PAGE = Path("docs/performance.md")
_LINE = re.compile(r"^An exact hit takes \*\*([0-9.]+)\*\* times the instructions", re.MULTILINE)
_MORE = 1.10
_ATTEMPTS = 3  # what others do on the machine only adds: a cause in the code fails them all
_ENTRIES, _WARM, _COUNTED, _ROUNDS = 8, 20, 50, 3
_IDLE_S = 1.0
# Nothing is counted until `_Counter.on`: to count the start would take minutes.
_VALGRIND = ("valgrind", "--tool=callgrind", "--instr-atstart=no")


@dataclass(frozen=True, slots=True)
class Counts:
    """Thousands of instructions of the server process for one request."""

    hit: float
    bare: float

    @property
    def ratio(self) -> float:
        return self.hit / self.bare


def measure(_run: Run) -> list[dict[str, Any]]:
    counts = count()
    return [
        row("instructions of an exact hit over those of the bare route", counts.ratio),
        row("  exact hit, thousands", counts.hit),
        row("  bare route, thousands", counts.bare),
    ]


def check() -> int:
    """Count, and compare with the page. Return the exit status."""
    if shutil.which("valgrind") is None:
        print("`scripts/bench --check` needs valgrind: apt-get install valgrind")
        return 1
    most = accepted(_PAGE.read_text())
    for _ in range(_ATTEMPTS):
        passed, says = judged(most, count().ratio)
        print(says, flush=True)
        if passed:
            return 0
    return 1


def accepted(page: str) -> float:
    """Return the ratio in the page's line. Raises `ValueError` if it has none."""
    found = _LINE.search(page)
    if found is None:
        raise ValueError(f"{_PAGE} has no line `An exact hit takes **N** times the instructions`")
    return float(found[1])


def with_accepted(page: str, ratio: float) -> str:
    """Return the page with this ratio in its line. Raises `ValueError` if it has none."""
    line = f"An exact hit takes **{ratio:.2f}** times the instructions"
    accepted(page)
    return _LINE.sub(line, page)


def judged(accepted: float, ratio: float) -> tuple[bool, str]:
    """Return whether a ratio passes, and a sentence for a person."""
    says = f"An exact hit takes {ratio:.2f} times the instructions of the bare route; "
    if ratio > accepted * _MORE:
        return False, (
            f"{says}{_PAGE} accepts {accepted} and a tenth more. Find the cause (`scripts/bench "
            "instructions` counts again), or write the new ratio into that line."
        )
    lower = " The line can be lowered." if ratio < accepted / _MORE else ""
    return True, f"{says}{_PAGE} accepts {accepted}.{lower}"


def count() -> Counts:
    """Count both routes in turns.

    What the server does unasked is subtracted. What it does once in a while (sums, statistics) is
    done for fewer requests at a time where others use the machine: the least of the rounds counts.
    """
    with _counter() as counter:
        hit, bare = counter.client("/v1/messages", "exact"), counter.client("/bare")
        for client in (hit, bare) * 2:
            _ask(client, _WARM)
        counter.on()
        for client in (hit, bare):
            _ask(client, _WARM)
        idle_per_s = counter.idle()
        taken = [
            [counter.taken(client, idle_per_s) for client in (hit, bare)] for _ in range(_ROUNDS)
        ]
    return Counts(*(min(each) for each in zip(*taken, strict=True)))


def _ask(client: Client, count: int) -> None:
    for number in range(count):
        client.ask(body(question(number % _ENTRIES)))


@dataclass(frozen=True, slots=True)
class _Counter:
    """A server under callgrind. Its dumps hold what was counted since the one before."""

    pid: int
    url: str
    key: str
    dumps: Path

    def client(self, path: str, *expected: str) -> Client:
        return Client(self.url, self.key, *expected, path=path)

    def on(self) -> None:
        self._control("--instr=on")

    def idle(self) -> float:
        """Return instructions a second of a server that nobody asks."""
        self._counted()
        began = time.monotonic()
        time.sleep(_IDLE_S)
        return self._counted() / (time.monotonic() - began)

    def taken(self, client: Client, idle_per_s: float) -> float:
        self._counted()
        began = time.monotonic()
        _ask(client, _COUNTED)
        took = time.monotonic() - began
        return (self._counted() - idle_per_s * took) / _COUNTED / 1e3

    def _counted(self) -> int:
        """Return instructions since the last call."""
        for old in self.dumps.glob("dump.*"):
            old.unlink()
        self._control("--dump")
        totals = [
            int(found)
            for dump in self.dumps.glob("dump.*")
            for found in re.findall(r"^totals: (\d+)", dump.read_text(), re.MULTILINE)
        ]
        return sum(totals)

    def _control(self, command: str) -> None:
        subprocess.run(
            ["callgrind_control", command, str(self.pid)], check=True, capture_output=True
        )


@contextlib.contextmanager
def _counter() -> Iterator[_Counter]:
    """A server for exact hits alone: to load a model under callgrind takes minutes."""
    with temporary_folder() as folder:
        data, dumps = folder / "data", folder / "dumps"
        data.mkdir()
        dumps.mkdir()
        command = ["-m", SERVER, str(data), NOWHERE, str(_ENTRIES), "--exact"]
        child = subprocess.Popen(
            [*_VALGRIND, f"--callgrind-out-file={dumps}/dump", sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        try:
            server = started(child)
            yield _Counter(child.pid, server.url, server.key, dumps)
        finally:
            child.terminate()
            child.communicate()
