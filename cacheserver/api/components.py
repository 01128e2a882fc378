"""The parts that `bootstrap` builds, for a server's routes or for a process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cacheserver.alerts.monitor import AlertMonitor
from cacheserver.batches.scheduler import BatchScheduler
from cacheserver.budgets.budgets import Budgets
from cacheserver.budgets.rate_limits import RateLimits
from cacheserver.cache.call_planner import CallPlanner
from cacheserver.cache.decision_log import DecisionLog
from cacheserver.cache.semantic import SemanticEntries
from cacheserver.cache.service import CacheService
from cacheserver.calibration.bars import Bars
from cacheserver.calibration.feedback import Feedback
from cacheserver.calibration.labels import Labels
from cacheserver.calibration.pairs import Pairs
from cacheserver.calibration.review_queue import ReviewFiles
from cacheserver.calibration.review_store import ReviewQueue
from cacheserver.calibration.what_if import WhatIf
from cacheserver.calibration.worker import Worker
from cacheserver.calibration.wrong_hits import WrongHitShares
from cacheserver.claude.upstream import Upstream
from cacheserver.conversations.history import HistoryTrimmer
from cacheserver.conversations.turns import Turns
from cacheserver.core.request_context import Observer
from cacheserver.core.types import Nanodollars
from cacheserver.erasure.erasure import Eraser
from cacheserver.ledger.export import LedgerExport
from cacheserver.ledger.reports import LedgerReports
from cacheserver.ledger.writer import Ledger
from cacheserver.observability.gauge_sampler import GaugeSampler
from cacheserver.observability.metrics import Metrics
from cacheserver.observability.store_sizes import StoreSizes
from cacheserver.output_caps.caps import OutputCaps
from cacheserver.pricing.prices import Pricer
from cacheserver.promptcache.drift import PromptCaching
from cacheserver.routing.router import Router
from cacheserver.routing.trials.gold import GoldRuns
from cacheserver.routing.trials.trials import Trials
from cacheserver.tenants.store import Tenants


@dataclass(frozen=True, slots=True)
class Components:
    service: CacheService
    entries: SemanticEntries
    decision_log: DecisionLog
    ledger: Ledger
    budgets: Budgets
    limits: RateLimits
    alerting: AlertMonitor
    gauge_sampler: GaugeSampler
    sizes: StoreSizes
    ledger_sums: LedgerReports
    ledger_export: LedgerExport
    wrong_hits: WrongHitShares
    wrong_price: Nanodollars  # what the operator says one costs
    learner: Worker
    feedback: Feedback
    pairs: Pairs
    labels: Labels
    bars: Bars
    reviews: ReviewQueue
    what_if: WhatIf
    review_files: ReviewFiles
    tenants: Tenants
    metrics: Metrics
    upstream: Upstream
    pricer: Pricer
    default_model: str
    batching: BatchScheduler
    call_planner: CallPlanner
    router: Router
    prompts: PromptCaching
    trials: Trials
    gold: GoldRuns
    lengths: OutputCaps
    history: HistoryTrimmer
    turns: Turns
    eraser: Eraser
    embedder_id: str
    repairs: Sequence[str]  # sentences on damage of the store that was mended at a start
    observers: Sequence[Observer]  # told of every request, in this order
    clock: Callable[[], float]
