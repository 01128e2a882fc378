"""Cost of a miss with each saving off and on, by the simulated Claude's own invoice.

Real arrival times and lengths (`azure_trace`), real questions (`banking77`, `clinc150`), virtual
time. System prompts, conversations, the share of deferred requests and of runaway answers are our
assumptions, stated below. Every request bypasses stored answers (`cache: refresh`), so that the
savings alone make the difference.
"""

from __future__ import annotations

import asyncio
import csv
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from cacheserver import bootstrap
from cacheserver.api.components import Components
from cacheserver.app import create_app
from cacheserver.batches.context import Intervals
from cacheserver.config.settings import Settings
from cacheserver.core.rules.history import HistoryRules
from cacheserver.core.rules.routing import RoutingRules
from cacheserver.core.types import LEVERS
from cacheserver.routing.complexity_weights import WITH_VECTOR, WITHOUT
from cacheserver.simulated import Directives, Simulated, SimulatedSettings, serve_simulated
from scripts.benchmarks.rows import at_least, at_most, row
from scripts.benchmarks.run import Run
from scripts.routing import train

REQUESTS = 600
_START = 1_795_000_000.0  # November 2026: today's prices
_SYSTEMS = (200, 600, 1_200, 2_500, 5_000)  # tokens of the five system prompts there are
_WAITS = 0.2  # share of requests that may wait for a batch
_TALKS = 0.1  # share at the end of a conversation of 12 exchanges
_RUNAWAYS = 0.02  # share answered with 4,000 words unless capped
_DEFAULT = "claude-sonnet-5-5"  # the model for `auto` without routing
_QUICK = Intervals(tick_s=0.01, poll_first_s=0.01, poll_longest_s=0.05)
_WORDS = ("order", "refund", "policy", "account", "delivery", "invoice", "customer", "answer")


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One request of the trace."""

    at: float  # seconds since the first
    text: str
    system: str
    words: int  # of the answer
    waits: bool
    earlier: tuple[dict[str, str], ...]


def measure(run: Run) -> list[dict[str, Any]]:
    """Measure the cost per 1,000 requests with no saving, each alone and all; time preparation."""
    trace = list(_trace(run.data, REQUESTS))
    costs: dict[str, float] = {}
    for name, on in [("none", ()), *((lever, (lever,)) for lever in LEVERS), ("all", LEVERS)]:
        costs[name], taken = asyncio.run(_play(trace, frozenset(on)))
    rows = [row("no lever", costs["none"], "$/1k")]
    for lever in LEVERS:
        rows.append(row(f"{lever} alone", costs[lever], "$/1k"))
    rows.append(row("all of them", costs["all"], "$/1k"))
    rows.append(row("  of what no lever costs", costs["all"] / costs["none"], ""))
    taken.sort()
    rows.append(row("preparing a miss with all of them, p50", statistics.median(taken), "ms"))
    rows.append(at_most("preparing a miss with all of them, p95", _p95(taken), 1, "ms"))
    return rows + _routing()


def _routing() -> list[dict[str, Any]]:
    """Measure the accuracy of the shipped classifier on the test half of the labelled set."""
    held = train.Vectors(Path("var/model")).give(train.half("test"))
    shares = train.shipped(held, WITH_VECTOR, WITHOUT)
    found = train.judged("shipped", shares, held, RoutingRules(), embedded=True)
    return [
        at_least("routing, test half: right", found.right, 0.85),
        *(
            row(f"  recall of {level}", share)
            for level, share in zip(train.LEVELS, found.recall, strict=True)
        ),
        at_most("  COMPLEX sent to the lowest tier", found.complex_to_low, 0.02),
    ]


def _trace(data: Path, requests: int) -> Iterator[TraceRequest]:
    """The requests, the same in every run."""
    chance = random.Random(7)
    questions = [
        *_column(data / "banking77" / "train.tsv"),
        *_column(data / "clinc150" / "train.tsv"),
    ]
    chance.shuffle(questions)
    systems = [_text(random.Random(size), size) for size in _SYSTEMS]
    with (data / "azure_trace" / "conv.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:requests]
    first = datetime.fromisoformat(rows[0]["TIMESTAMP"][:26])
    for place, one in enumerate(rows):
        context = int(one["ContextTokens"])
        near = min(range(len(_SYSTEMS)), key=lambda at: abs(_SYSTEMS[at] - context))
        runs_away = chance.random() < _RUNAWAYS
        talks = chance.random() < _TALKS
        yield TraceRequest(
            at=(datetime.fromisoformat(one["TIMESTAMP"][:26]) - first).total_seconds(),
            text=f"{questions[place]} ({place})",
            system=systems[near],
            words=4_000 if runs_away else max(1, int(one["GeneratedTokens"]) * 3 // 4),
            waits=chance.random() < _WAITS,
            earlier=tuple(_talk(place)) if talks else (),
        )


def _talk(seed: int) -> Iterator[dict[str, str]]:
    chance = random.Random(seed)
    for _ in range(12):
        yield {"role": "user", "content": _text(chance, 40)}
        yield {"role": "assistant", "content": _text(chance, 160)}


def _text(chance: random.Random, tokens: int) -> str:
    return " ".join(chance.choice(_WORDS) for _ in range(round(tokens * 2.5 / 7)))


def _column(file: Path) -> list[str]:
    with file.open(newline="") as rows:
        return [
            one["query"] for one in csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]


async def _play(trace: Sequence[TraceRequest], on: frozenset[str]) -> tuple[float, list[float]]:
    """Return dollars per 1,000 requests on Claude's invoice, and milliseconds of each prepare."""
    now, began = [_START], time.monotonic()

    def clock() -> float:  # virtual, but always advancing: pollers would hang otherwise
        return now[0] + time.monotonic() - began

    lengths = {asked.text: asked.words for asked in trace}

    def answer(body: Mapping[str, Any]) -> Directives | None:
        last = body["messages"][-1]["content"]
        text = last if isinstance(last, str) else last[-1].get("text", "")
        return Directives(words=lengths.get(text, 20))

    simulated = Simulated(SimulatedSettings(direct=answer, batch_s=0.0, clock=clock))
    with tempfile.TemporaryDirectory(prefix="cs-levers-") as folder:
        async with serve_simulated(simulated) as url:
            settings = Settings(
                data_dir=Path(folder),
                model_dir=Path("var/model"),
                upstream=url,
                anthropic_api_key="sk-ant-benchmark",
                default_model=_DEFAULT,
            )
            async with bootstrap.build(settings, clock=clock, pace=_QUICK) as parts:
                taken = await _send(parts, settings, trace, on, now)
        lines = simulated.invoice
    return sum(line.nanodollars for line in lines) / 1e9 / len(trace) * 1_000, taken


async def _send(
    parts: Components,
    settings: Settings,
    trace: Sequence[TraceRequest],
    on: frozenset[str],
    now: list[float],
) -> list[float]:
    tenant = await parts.tenants.get("default")
    await parts.tenants.put(replace(tenant, history=HistoryRules(messages=True)))
    taken: list[float] = []
    prepare = parts.call_planner.prepare

    async def timed(*given: Any) -> Any:
        started = time.perf_counter()
        made = await prepare(*given)
        taken.append((time.perf_counter() - started) * 1e3)
        return made

    parts.call_planner.prepare = timed  # type: ignore[method-assign]
    transport = httpx2.ASGITransport(create_app(parts, settings))
    jobs: list[str] = []
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://127.0.0.1", timeout=120
    ) as http:
        await parts.entries.restored.wait()
        for asked in trace:
            now[0] = _START + asked.at
            body = {
                "messages": [*asked.earlier, {"role": "user", "content": asked.text}],
                "system": asked.system,
                "cache": "refresh",
                "levers_off": [lever for lever in LEVERS if lever not in on],
            }
            if asked.waits and "batching" in on:
                reply = await http.post("/v1/query", json={**body, "when": "batch"})
                jobs.append(reply.json()["id"])
            else:
                reply = await http.post("/v1/query", json=body)
            if reply.status_code not in (200, 202):
                raise RuntimeError(f"status {reply.status_code}: {reply.text[:200]}")
            # What was learned is written a second later, by another clock than this one.
            await parts.prompt_caching.writes.drain()
            await parts.output_caps.drain()
        now[0] += 7_200  # past the latest time to submit the batches
        for job in jobs:
            async with http.stream("GET", f"/v1/jobs/{job}/events") as events:
                async for _ in events.aiter_bytes():
                    pass
    return taken


def _p95(taken: Sequence[float]) -> float:
    return taken[round(0.95 * (len(taken) - 1))] if taken else 0.0
