"""Speed of `cacheserver simulate` in one process, for each shipped scenario."""

from __future__ import annotations

import itertools
import time
from typing import Any

from cacheserver.analysis.scenarios import shelf
from cacheserver.analysis.scenarios.run import run as simulate
from scripts.benchmarks.embed import p50_ms
from scripts.benchmarks.processes.load import SERVER_CORE, pinned
from scripts.benchmarks.rows import row
from scripts.benchmarks.run import Run
from scripts.benchmarks.units import ASKED, FIRST

_REQUESTS = 2_000


def measure(run: Run) -> list[dict[str, Any]]:
    """Requests a second over embeddings a second, without the start of the command."""
    texts = (ASKED.replace("@", str(number)) for number in itertools.count(FIRST))
    embedding_s = p50_ms(texts, max(1, run.seconds / 2), SERVER_CORE) / 1e3
    rows: list[dict[str, Any]] = []
    for name in shelf.names():
        with pinned(SERVER_CORE):
            result = simulate(
                shelf.scenario(name),
                shelf.prices("today"),
                requests=_REQUESTS,
                clock=time.process_time,  # one process, which waits for nothing
            )
        per_s = result.whole.requests / result.took_s
        rows.append(row(f"simulate {name}: requests for one embedding", per_s * embedding_s))
        rows.append(row("  requests", per_s, "/s"))
    return rows
