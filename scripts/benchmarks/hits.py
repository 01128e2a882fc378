"""Hits against a bare FastAPI route of the same server, and semantic hits against an embedding."""

from __future__ import annotations

import itertools
import json
from typing import Any

from scripts.benchmarks import embed
from scripts.benchmarks.load import SERVER_CORE, Figures, Server, server, wrk
from scripts.benchmarks.rows import at_least, at_most, row
from scripts.benchmarks.server import body, question

# About as long as the question of `embed`. Never the same text twice: neither an exact hit nor a
# remembered embedding.
_ASKED = "How can I return item @?"
_FIRST = 10_000_000
_NOWHERE = "http://127.0.0.1:9"  # hits ask nobody


def measure(seconds: float, entries: list[int]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for count in entries:
        with server(_NOWHERE, count) as under_load:
            found.append(row(f"{count} entries: stored and indexed in", under_load.fill_s, "s"))
            found += _exact(under_load, count, seconds)
            found += _semantic(under_load, count, seconds)
            found += _memory(under_load, count, last=count == entries[-1])
    return found


def _exact(of: Server, count: int, seconds: float) -> list[dict[str, Any]]:
    template = json.dumps(body(question(0))).replace("item 0", "item @")
    found = []
    for clients in (1, 8, 64):

        def ask(path: str, clients: int = clients) -> Figures:
            some = min(count, 1_000)
            return wrk(of, path, template, clients=clients, seconds=seconds, count=some)

        ask("/v1/messages")  # warm
        bare, exact = ask("/bare"), ask("/v1/messages")
        if exact.errors or bare.errors:
            raise RuntimeError("requests failed under load")
        name = f"{count} entries, {clients} clients: exact hit"
        found.append(row(f"{name}, requests", exact.per_s, "/s"))
        found.append(row(f"{name}, p99", exact.p99_ms, "ms"))
        found += _cpu(exact)
        found.append(row("  bare route, CPU of the server process", bare.server_us, "us"))
        share = exact.per_s / bare.per_s
        found.append(row("  share of the bare route by CPU", bare.cpu_us / exact.cpu_us))
        if clients == 1:
            found.append(row("  share of the bare route", share))
            gap = exact.p50_ms - bare.p50_ms
            found.append(at_most("  p50 over the bare route", gap, 0.5, "ms"))
        else:
            found.append(at_least("  share of the bare route", share, 0.4))
    return found


def _semantic(of: Server, count: int, seconds: float) -> list[dict[str, Any]]:
    template = json.dumps(body(_ASKED))
    alike = (_ASKED.replace("@", str(number)) for number in itertools.count(_FIRST))
    one_embedding = embed.p50_ms(alike, max(1, seconds / 4), SERVER_CORE)
    found = [row("one embedding of such a question on the same core, p50", one_embedding, "ms")]
    alone, first = None, _FIRST
    for clients in (1, 8, 64):
        figures = wrk(
            of,
            "/v1/messages",
            template,
            clients=clients,
            seconds=seconds,
            first=first,
            count=1_000_000,
        )
        first += 1_000_000
        if figures.errors:
            raise RuntimeError("semantic hits failed: was one refused, so that Claude was asked?")
        name = f"{count} entries, {clients} clients: semantic hit"
        found.append(row(f"{name}, requests", figures.per_s, "/s"))
        found += _cpu(figures)
        if clients == 1:
            alone = figures
            found.append(at_most(f"{name}, p50", figures.p50_ms, one_embedding + 1.5, "ms"))
        elif clients == 64 and alone is not None:
            found.append(
                at_least("  times the throughput of one", figures.per_s / alone.per_s, 1.5)
            )
            possible = alone.p50_ms * 1e3 / figures.cpu_us
            found.append(row("  times the throughput of one, by CPU and that one's p50", possible))
            found.append(at_most("  p99 over p50", figures.p99_ms / figures.p50_ms, 3))
    return found


def _cpu(figures: Figures) -> list[dict[str, Any]]:
    """CPU time per hit: the least noisy figure on a shared machine."""
    return [
        row("  CPU of the server process, each", figures.server_us, "us"),
        row("  CPU of the store, each", figures.store_us, "us"),
    ]


def _memory(of: Server, count: int, *, last: bool) -> list[dict[str, Any]]:
    name = f"{count} entries: server process"
    resident = of.resident_mb()
    return [
        at_most(name, resident, 450, "MB") if last else row(name, resident, "MB"),
        row(f"{count} entries: store beside it", of.store_mb(), "MB"),
    ]
