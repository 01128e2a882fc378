"""The parts an edge works with, once `wire` has built them: a server's routes, or a process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cacheserver.asking.alerting import Alerting
from cacheserver.asking.asker import Asker
from cacheserver.asking.batches import Batching
from cacheserver.asking.budgets import Budgets
from cacheserver.asking.drift import PromptCare
from cacheserver.asking.gauging import Gauging
from cacheserver.asking.gold import GoldRuns
from cacheserver.asking.history import History
from cacheserver.asking.lengths import Lengths
from cacheserver.asking.ratelimits import RateLimits
from cacheserver.asking.router import Router
from cacheserver.asking.trials import Trials
from cacheserver.erasing import Eraser
from cacheserver.learning.feedback import Feedback
from cacheserver.learning.pairs import Pairs
from cacheserver.learning.rehearsal import Rehearsal
from cacheserver.learning.reviewing import Reviewing
from cacheserver.learning.worker import Worker
from cacheserver.learning.wronghits import WrongHitShares
from cacheserver.metrics import Metrics
from cacheserver.policy.money import Pricer
from cacheserver.service import CacheService
from cacheserver.stores.bars import Bars
from cacheserver.stores.journal import Journal
from cacheserver.stores.labels import Labels
from cacheserver.stores.ledger import Ledger
from cacheserver.stores.ledgerexport import LedgerExport
from cacheserver.stores.ledgersums import LedgerSums
from cacheserver.stores.reviews import ReviewQueue
from cacheserver.stores.semantic import SemanticEntries
from cacheserver.stores.sizes import Sizes
from cacheserver.stores.tenants import Tenants
from cacheserver.stores.turns import Turns
from cacheserver.types import Nanodollars
from cacheserver.upstream import Upstream
from cacheserver.visit import Observer


@dataclass(frozen=True, slots=True)
class Parts:
    service: CacheService
    entries: SemanticEntries
    journal: Journal
    ledger: Ledger
    budgets: Budgets
    limits: RateLimits
    alerting: Alerting
    gauging: Gauging
    sizes: Sizes
    ledger_sums: LedgerSums
    ledger_export: LedgerExport
    wrong_hits: WrongHitShares
    wrong_price: Nanodollars  # what the operator says one costs
    learner: Worker
    feedback: Feedback
    pairs: Pairs
    labels: Labels
    bars: Bars
    reviews: ReviewQueue
    rehearsal: Rehearsal
    reviewing: Reviewing
    tenants: Tenants
    metrics: Metrics
    upstream: Upstream
    pricer: Pricer
    default_model: str
    batching: Batching
    asker: Asker
    router: Router
    prompts: PromptCare
    trials: Trials
    gold: GoldRuns
    lengths: Lengths
    history: History
    turns: Turns
    eraser: Eraser
    embedder_id: str
    repairs: Sequence[str]  # sentences on damage of the store that was mended at a start
    observers: Sequence[Observer]  # told of every request, in this order
    clock: Callable[[], float]
