"""Builds the record of who made what at Anthropic."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cacheserver.host import Host
from cacheserver.passthrough.owners import Owners


@asynccontextmanager
async def build(host: Host) -> AsyncIterator[Owners]:
    """Yield it; from then on no call names what another tenant made."""
    owners = Owners(
        host.store.redis, prefix=host.store.prefix, clock=host.clock, counters=host.metrics
    )
    host.claude.guard = owners.guard
    host.claude.recording = owners.recording
    yield owners
