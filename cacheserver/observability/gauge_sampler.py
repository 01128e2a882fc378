"""Sampler of gauges, once a minute: sizes, budgets, wrong hits.

Every server samples for itself: each is scraped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from cacheserver.core.background import one_round
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.core.types import Tenant
from cacheserver.observability.gauges import Gauges
from cacheserver.observability.metrics import Metrics
from cacheserver.observability.store_sizes import StoreSizes

logger = logging.getLogger(__name__)

_EVERY_S = 60.0  # Prometheus itself scrapes four times as often


class Tenants(Protocol):
    async def list_tenants(self) -> list[Tenant]: ...


class GaugeSource(Protocol):
    """Gauges of one capability."""

    async def sample(self, tenants: Sequence[Tenant]) -> None:
        """Set the gauges. Raises `StoreError`."""


class SizeGauges:
    """Gauges of the bytes of each kind of data in the store."""

    def __init__(self, sizes: StoreSizes, gauges: Gauges) -> None:
        self._sizes = sizes
        self._gauges = gauges

    async def sample(self, tenants: Sequence[Tenant]) -> None:
        """Set the gauges. Raises `StoreError`."""
        taken = await self._sizes.read()
        self._gauges.sizes(taken, self._sizes.limits)
        self._gauges.stored(taken["answers"])


class GaugeSampler:
    """Samples `sources` in the background, from `start` to `close`."""

    def __init__(
        self,
        sources: Sequence[GaugeSource],
        *,
        tenants: Tenants,
        open_tenant: Tenant,
        metrics: Metrics,
    ) -> None:
        self._sources = sources
        self._tenants = tenants
        self._open = open_tenant  # callers without a key; may have no settings
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="gauges:keep")

    async def close(self) -> None:
        if self._task is not None:
            await end(self._task)
            self._task = None

    async def sample(self) -> None:
        """Set the gauges now. Raises `StoreError`."""
        tenants = await self._tenants.list_tenants()
        if all(tenant.name != self._open.name for tenant in tenants):
            tenants.append(self._open)
        for source in self._sources:
            await source.sample(tenants)

    async def _run(self) -> None:
        while True:
            try:
                with one_round():
                    await self.sample()
            except StoreError:
                self._metrics.swallowed("gauges")
            except Exception as error:  # the task boundary: the next round samples again
                self._metrics.swallowed("gauges")
                logger.error("sampling the gauges failed: %s", type(error).__name__)
            await asyncio.sleep(_EVERY_S)
