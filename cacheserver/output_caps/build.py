"""Builds the output caps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cacheserver.host import Host
from cacheserver.output_caps.caps import OutputCaps
from cacheserver.output_caps.store import LengthStore


@asynccontextmanager
async def build(host: Host) -> AsyncIterator[OutputCaps]:
    """Yield the output caps; lengths learned are written at the end."""
    caps = OutputCaps(LengthStore(host.store.redis, prefix=host.store.prefix), host.metrics)
    host.plugins.output_caps = caps
    try:
        yield caps
    finally:
        await caps.close()
