"""An import of short questions, on all cores: as `import` sends them, each stored and embedded."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any, Final

import httpx2

from scripts.benchmarks.embed import p50_ms
from scripts.benchmarks.processes.load import LOAD_CORE, NOWHERE, SERVER_CORE, server
from scripts.benchmarks.processes.server import ADMIN_KEY, MODEL, NOUNS, VERBS
from scripts.benchmarks.rows import at_least, row
from scripts.benchmarks.run import Run

_BATCH: Final = 500  # records of a request
_BATCHES: Final = 12
_FIRST: Final = 2  # batches that are not counted: the graph is read, and its memory filled
_ENDS: Final = ("", " now", " today", " again", " at home", " without a fee", " by tomorrow")
_LEAST: Final = 1_500  # questions a second on two cores


def measure(run: Run) -> list[dict[str, Any]]:
    questions = [
        f"How do I {verb} my {noun}{end}?" for end in _ENDS for verb in VERBS for noun in NOUNS
    ]
    with server(NOWHERE, 0, None, core=f"{SERVER_CORE},{LOAD_CORE}") as ours:
        client = httpx2.Client(
            base_url=ours.url, headers={"x-api-key": ADMIN_KEY}, timeout=60, trust_env=False
        )
        begun = _json(client.post("/admin/v1/imports", json={**_ASKED, "source": "bench"}))
        path = f"/admin/v1/imports/default/{begun['id']}/records"
        batches = [questions[at : at + _BATCH] for at in range(0, _BATCH * _BATCHES, _BATCH)]
        for number, batch in enumerate(batches[:_FIRST]):
            _send(client, path, number, batch)
        cpu, began = ours.cpu_s(), time.perf_counter()
        for number, batch in enumerate(batches[_FIRST:], _FIRST):
            _send(client, path, number, batch)
        took = time.perf_counter() - began
        counted = sum(map(len, batches[_FIRST:]))
        spent = [
            (after - before) / counted for before, after in zip(cpu, ours.cpu_s(), strict=True)
        ]
    embedding = p50_ms(iter(itertools.cycle(questions)), max(1, run.seconds / 2), SERVER_CORE)
    return [
        at_least("import of short questions, a second, on two cores", counted / took, _LEAST),
        row("  for each, in embeddings of one alone", took / counted * 1e3 / embedding),
        row("  CPU of the server for each", spent[0] * 1e3, "ms"),
        row("  CPU of the store for each", spent[1] * 1e3, "ms"),
        row("  one embedding alone", embedding, "ms"),
    ]


_ASKED: Final = {"tenant": "default", "request": {"model": MODEL, "max_tokens": 300}}


def _send(client: httpx2.Client, path: str, number: int, questions: Sequence[str]) -> None:
    records = [{"question": question, "answer": "By post, in 30 days."} for question in questions]
    body = {"first": number * _BATCH, "records": records, "last": False, **_ASKED}
    del body["tenant"]
    found = _json(client.post(path, json=body))
    if found["counts"].get("refused"):
        raise RuntimeError(f"the server refused some: {found['problems'][:1]}")


def _json(response: httpx2.Response) -> dict[str, Any]:
    found: dict[str, Any] = response.raise_for_status().json()
    return found
