"""The server of `scripts.benchmarks.server`, with its ledger on or off.

Run as `python -m scripts.benchmarks.ledgerserver DATA_DIR UPSTREAM ENTRIES BAR on|off`.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from cacheserver.core.ledger_row import Row
from cacheserver.ledger.writer import Ledger
from scripts.benchmarks import server


class _Off:
    """A replacement of `Ledger.put` that records nothing."""

    def __init__(self) -> None:
        self._done = asyncio.Event()
        self._done.set()

    def __call__(self, _ledger: Ledger, _row: Row) -> asyncio.Event:
        return self._done


def main(arguments: list[str]) -> None:
    *given, recording = arguments
    if recording == "off":
        off = _Off()
        Ledger.put = lambda ledger, row: off(ledger, row)  # type: ignore[method-assign, assignment]
    uvloop.run(server.main(given[0], given[1], int(given[2]), float(given[3])))


main(sys.argv[1:])
