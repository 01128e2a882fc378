"""The parts an edge works with, once `wire` has built them: a server's routes, or a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cacheserver.metrics import Metrics
from cacheserver.service import CacheService
from cacheserver.stores.journal import Journal
from cacheserver.stores.semantic import SemanticEntries
from cacheserver.stores.tenants import Tenants
from cacheserver.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Parts:
    service: CacheService
    entries: SemanticEntries
    journal: Journal
    tenants: Tenants
    metrics: Metrics
    upstream: Upstream
    embedder_id: str
    clock: Callable[[], float]
