"""The parts an edge works with, once `wire` has built them: a server's routes, or a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cacheserver.asking.history import History
from cacheserver.asking.lengths import Lengths
from cacheserver.learning.feedback import Feedback
from cacheserver.learning.pairs import Pairs
from cacheserver.learning.worker import Worker
from cacheserver.metrics import Metrics
from cacheserver.policy.money import Pricer
from cacheserver.service import CacheService
from cacheserver.stores.bars import Bars
from cacheserver.stores.journal import Journal
from cacheserver.stores.reviews import ReviewQueue
from cacheserver.stores.semantic import SemanticEntries
from cacheserver.stores.tenants import Tenants
from cacheserver.stores.turns import Turns
from cacheserver.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Parts:
    service: CacheService
    entries: SemanticEntries
    journal: Journal
    learner: Worker
    feedback: Feedback
    pairs: Pairs
    bars: Bars
    reviews: ReviewQueue
    tenants: Tenants
    metrics: Metrics
    upstream: Upstream
    pricer: Pricer
    default_model: str
    lengths: Lengths
    history: History
    turns: Turns
    embedder_id: str
    clock: Callable[[], float]
