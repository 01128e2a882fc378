"""Misses through the server against direct calls to the same simulated Claude."""

from __future__ import annotations

import http.client
import itertools
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from scripts.benchmarks.load import server, simulated_claude
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.server import body

_BAR = 1.0  # so that every question is looked for, and nothing found will do
_HEADERS = {
    "content-type": "application/json",
    "authorization": "Bearer sk-ant-benchmark",
    "anthropic-version": "2026-10-21",
}


def measure(seconds: float, _entries: list[int]) -> list[dict[str, Any]]:
    """Alternate questions between the two ways, so that both see the same noise."""
    with simulated_claude() as claude, server(claude, 1_000, bar=_BAR) as ours:
        before = ours.cpu_s()[0]
        numbers = itertools.count(10_000_000)  # none of them is stored, none asked twice
        whole = _both(claude, ours.url, seconds, numbers, stream=False)
        cpu_ms = (ours.cpu_s()[0] - before) / whole[2] * 1e3
        first = _both(claude, ours.url, seconds, numbers, stream=True)
    return [
        row("direct call, p50", whole[0], "ms"),
        row("miss, p50", whole[1], "ms"),
        at_most("  over a direct call", whole[1] - whole[0], 3, "ms"),
        row("  CPU of the server process", cpu_ms, "ms"),
        row("direct stream, first token, p50", first[0], "ms"),
        row("missed stream, first token, p50", first[1], "ms"),
        at_most("  over a direct call", first[1] - first[0], 5, "ms"),
    ]


def _both(
    direct: str, ours: str, seconds: float, numbers: Iterator[int], *, stream: bool
) -> tuple[float, float, int]:
    """The medians of the direct and of our way in milliseconds, and how often each was asked."""
    ways = [_Way(direct), _Way(ours)]
    until = time.perf_counter() + seconds
    asked = 0
    while time.perf_counter() < until:
        asked += 1
        for way in ways:
            way.ask(f"How do I return item {next(numbers)}?", stream=stream)
    return ways[0].median_ms(), ways[1].median_ms(), asked


class _Way:
    """A kept-alive connection, and how long each answer took to come, or to begin."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port)
        self._taken: list[float] = []

    def ask(self, text: str, *, stream: bool) -> None:
        asked = json.dumps({**body(text), "stream": stream})
        started = time.perf_counter()
        self._connection.request("POST", "/v1/messages", asked, _HEADERS)
        response = self._connection.getresponse()
        while stream and b"content_block_delta" not in response.readline():
            pass
        took = time.perf_counter() - started
        response.read()
        if response.status != 200 or response.headers.get("x-cache", "miss") != "miss":
            raise RuntimeError(f"status {response.status}, {response.headers.get('x-cache')}")
        if not stream:
            took = time.perf_counter() - started
        self._taken.append(took * 1e3)

    def median_ms(self) -> float:
        return statistics.median(self._taken[3:])
