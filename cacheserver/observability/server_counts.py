"""Counts of a server: of one process, or of all workers of one command added up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import generate_latest

from cacheserver.observability.merged_metrics import Families, Merged, exported, merged
from cacheserver.observability.metrics import Metrics, snapshot_of
from cacheserver.observability.snapshot import Snapshot

FAMILIES, CHECKS = "families", "checks"  # topics


class Worker(Protocol):
    """This process as one of the workers of a command. `number` counts from 0."""

    @property
    def number(self) -> int: ...

    @property
    def place(self) -> Path:
        """Return where the first worker listens to the others."""

    async def ready(self, lines: Sequence[str], restored: asyncio.Event) -> bool:
        """Say that this worker may serve, with lines for the user; return whether it shall.

        One that joins others which serve waits for `restored` first, within a bound.
        """

    def reply(self, topic: str, answer: Callable[[], Awaitable[Any]]) -> None:
        """Have `answer` called when another worker asks all for a topic."""

    def ended(self, families: Families) -> None:
        """Leave what this worker has counted."""

    async def families(self) -> Sequence[Families]:
        """Return the metrics of each; of those that have ended what they counted."""

    async def checks(self) -> Sequence[Sequence[dict[str, Any]]]:
        """Return the checks of health of each that answers, by its number."""


class ServerCounts:
    """Counts of this process, or of all workers if it is one."""

    def __init__(self, metrics: Metrics, worker: Worker | None = None) -> None:
        self._metrics = metrics
        self._worker = worker

    async def render(self) -> bytes:
        """Render all metrics in Prometheus' text format 0.0.4."""
        if self._worker is None:
            return self._metrics.render()
        return generate_latest(Merged(merged(await self._worker.families())))

    async def snapshot(self) -> Snapshot:
        """Return the counts of requests, money and latency at this moment."""
        if self._worker is None:
            return self._metrics.snapshot()
        return snapshot_of(merged(await self._worker.families()))

    def own(self) -> Families:
        """Return the metrics of this process alone."""
        return exported(self._metrics.families())
