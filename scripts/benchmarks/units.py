"""The two units of a run, so that no target depends on the machine.

E is one embedding of a question such as those asked; B the bare FastAPI route: the p50 of both with
one client, on the server's core.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass

from scripts.benchmarks.embed import p50_ms
from scripts.benchmarks.processes.load import SERVER_CORE, Server, wrk
from scripts.benchmarks.processes.server import body

# Never the same text twice: neither an exact hit nor a remembered embedding.
ASKED = "How can I return item @?"
FIRST = 10_000_000
TEMPLATE = json.dumps(body(ASKED))


@dataclass(frozen=True, slots=True)
class Units:
    embedding_ms: float
    bare_ms: float

    def beyond(self, ms: float) -> float:
        """Return by how many B a time is beyond one E."""
        return (ms - self.embedding_ms) / self.bare_ms


def units(of: Server, seconds: float) -> Units:
    """Measure both while nothing else uses the server."""
    texts = (ASKED.replace("@", str(number)) for number in itertools.count(FIRST))
    embedding = p50_ms(texts, max(1, seconds / 2), SERVER_CORE)
    return Units(
        embedding, wrk(of, "/bare", TEMPLATE, clients=1, seconds=max(1, seconds / 2)).p50_ms
    )
