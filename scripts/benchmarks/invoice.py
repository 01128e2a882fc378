"""20,000 mixed requests, and whether the simulated Claude's invoice and our ledger agree."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.run import Run
from tests.ledger.invoice import agree, bill, both

_MOST_S = 900  # beyond that the machine is too busy to say anything


def measure(run: Run) -> list[dict[str, Any]]:
    """Compare both. Raises `AssertionError` if more differs than calls without reported usage."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cacheserver-bench-") as folder:
        taken = asyncio.run(_bounded(Path(folder), run.requests))
    agree(taken)
    rows, invoice = taken.rows, taken.invoice
    known = {each.call: bill(each) for each in rows if each.call is not None and bill(each)}
    lines = {line.message_id: line.nanodollars for line in invoice}
    doubtful = [each for each in rows if each.unknown is not None]
    never = sum(cost for id, cost in lines.items() if id not in known)
    wrong = sum(lines.get(id) != cost for id, cost in known.items())
    return [
        row("requests", len([each for each in rows if each.outcome != "background"])),
        row("  rows in the ledger, background work included", len(rows)),
        row("  seconds", time.monotonic() - began, "s"),
        row("calls on the simulated Claude's invoice", len(lines)),
        row("  of them in the ledger", len(known.keys() & lines.keys())),
        at_most("  of them at another price, or in the ledger alone", wrong, 0),
        row("rows whose usage never came", len(doubtful)),
        row("  calls on the invoice for them", len(lines.keys() - known.keys())),
        row("  what those cost", never / 1e9, "USD"),
        row("  at least, says the ledger", _sum(doubtful, "least"), "USD"),
        row("  at most, says the ledger", _sum(doubtful, "most"), "USD"),
        row("invoice in all", sum(lines.values()) / 1e9, "USD"),
        row("  ledger in all", sum(known.values()) / 1e9, "USD"),
        at_most(
            "  invoice less ledger less those, nanodollars",
            abs(sum(lines.values()) - sum(known.values()) - never),
            0,
        ),
    ]


async def _bounded(folder: Path, requests: int) -> Any:
    async with asyncio.timeout(_MOST_S):
        return await both(folder, requests)


def _sum(rows: list[Any], bound: str) -> float:
    return sum(getattr(each.unknown, bound) or 0 for each in rows) / 1e9
