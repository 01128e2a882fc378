"""Builds the replay of sample traffic."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cacheserver.host import Host
from cacheserver.sample_traffic.replay import SampleTraffic


@asynccontextmanager
async def build(host: Host) -> AsyncIterator[SampleTraffic]:
    """Yield the replay; one that runs is stopped at the end."""
    store, metrics = host.store, host.metrics
    sample = SampleTraffic(
        store.redis, prefix=store.prefix, clock=host.clock, swallowed=metrics.swallowed
    )
    try:
        yield sample
    finally:
        await sample.stop()
