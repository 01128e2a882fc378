"""The parts that `bootstrap` builds, for a server's routes or for a process.

A part of a capability that is switched off raises `SwitchedOff` where it is used: a 404 that names
the setting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cacheserver.alerts.monitor import AlertMonitor
from cacheserver.alerts.spend_history import SpendHistory
from cacheserver.audit_jobs.jobs import AuditJobs
from cacheserver.batches.job_list import JobList
from cacheserver.batches.scheduler import BatchScheduler
from cacheserver.budgets.budgets import Budgets
from cacheserver.budgets.build import SpendLimits
from cacheserver.cache.build import Cache
from cacheserver.cache.call_planner import CallPlanner
from cacheserver.cache.service import CacheService
from cacheserver.cache.store.decision_log import DecisionLog
from cacheserver.cache.store.decision_search import DecisionSearch
from cacheserver.cache.store.index_upkeep.move import IndexMove
from cacheserver.cache.store.reembedding import Reembedding
from cacheserver.cache.store.semantic import SemanticEntries
from cacheserver.calibration.build import CalibrationParts
from cacheserver.calibration.labels import Labels
from cacheserver.claude.upstream import Upstream
from cacheserver.conversations.build import Conversations
from cacheserver.core.features import Feature, required
from cacheserver.core.request_context import Observer
from cacheserver.core.types import Nanodollars
from cacheserver.erasure.erasure import Eraser
from cacheserver.host import Host
from cacheserver.ledger.export import LedgerExport
from cacheserver.ledger.past_sums import PastSums
from cacheserver.ledger.reports import LedgerReports
from cacheserver.ledger.writer import Ledger
from cacheserver.live.build import Live
from cacheserver.matching.language import Language
from cacheserver.observability.gauge_sampler import GaugeSampler
from cacheserver.observability.metrics import Metrics
from cacheserver.observability.store_sizes import StoreSizes
from cacheserver.output_caps.caps import OutputCaps
from cacheserver.passthrough.owners import Owners
from cacheserver.pricing.prices import Pricer
from cacheserver.promptcache.build import PromptCaching
from cacheserver.routing.build import Routing, TrialParts
from cacheserver.routing.sticky_models import StickyModels
from cacheserver.sample_traffic.replay import SampleTraffic
from cacheserver.tenants.store import Tenants
from cacheserver.verification.build import VerificationParts
from cacheserver.webhooks.build import WebhookParts


@dataclass(slots=True)
class Capabilities:
    """Capabilities plugged into the kernel; None if switched off."""

    alerts: AlertMonitor | None = None
    audit_jobs: AuditJobs | None = None
    batches: BatchScheduler | None = None
    budgets: SpendLimits | None = None
    calibration: CalibrationParts | None = None
    conversations: Conversations | None = None
    erasure: Eraser | None = None
    output_caps: OutputCaps | None = None
    passthrough: Owners | None = None
    prompt_caching: PromptCaching | None = None
    routing: Routing | None = None
    verification: VerificationParts | None = None


@dataclass(frozen=True, slots=True)
class Components:
    host: Host
    serving: Cache
    capabilities: Capabilities
    off: frozenset[Feature]
    labels: Labels  # also while calibration is off: a tenant's are forgotten with its content
    webhooks: WebhookParts
    spend_history: SpendHistory
    sizes: StoreSizes
    gauge_sampler: GaugeSampler
    sample: SampleTraffic
    observers: Sequence[Observer]  # shown every request, in this order

    # The kernel and the books.

    @property
    def service(self) -> CacheService:
        return self.serving.service

    @property
    def call_planner(self) -> CallPlanner:
        return self.serving.call_planner

    @property
    def entries(self) -> SemanticEntries:
        return self.host.answers.entries

    @property
    def decision_log(self) -> DecisionLog:
        return self.host.answers.decision_log

    @property
    def decision_search(self) -> DecisionSearch:
        return self.host.answers.decision_search

    @property
    def sticky_models(self) -> StickyModels:
        """Return the store of sticky models; it exists even if routing is off."""
        return StickyModels(self.host.store.redis, prefix=self.host.store.prefix)

    @property
    def embedder_id(self) -> str:
        return self.host.answers.embedder_id

    @property
    def index_move(self) -> IndexMove:
        return self.host.answers.index_move

    @property
    def reembedding(self) -> Reembedding:
        return self.host.answers.reembedding

    @property
    def language(self) -> Language:
        return self.host.plugins.language

    @property
    def upstream(self) -> Upstream:
        return self.host.claude

    @property
    def default_model(self) -> str:
        return self.host.settings.default_model

    @property
    def wrong_hit_cost(self) -> Nanodollars:
        """Return the operator's price of a wrong answer."""
        return round(self.host.settings.wrong_hit_usd * 1_000_000_000)

    @property
    def live(self) -> Live:
        return self.host.live

    @property
    def repairs(self) -> Sequence[str]:
        return self.host.store.server.repairs

    @property
    def tenants(self) -> Tenants:
        return self.host.tenants

    @property
    def ledger(self) -> Ledger:
        return self.host.ledger.writer

    @property
    def ledger_reports(self) -> LedgerReports:
        return self.host.ledger.reports

    @property
    def past_sums(self) -> PastSums:
        return self.host.ledger.past

    @property
    def ledger_export(self) -> LedgerExport:
        return self.host.ledger.export

    @property
    def pricer(self) -> Pricer:
        return self.host.pricer

    @property
    def metrics(self) -> Metrics:
        return self.host.metrics

    @property
    def clock(self) -> Callable[[], float]:
        return self.host.clock

    # The capabilities.

    @property
    def alerts(self) -> AlertMonitor:
        return required(self.capabilities.alerts, "alerts")

    @property
    def audit_jobs(self) -> AuditJobs:
        return required(self.capabilities.audit_jobs, "analysis")

    @property
    def batches(self) -> BatchScheduler:
        return required(self.capabilities.batches, "batches")

    @property
    def budgets(self) -> Budgets:
        return required(self.capabilities.budgets, "budgets").budgets

    @property
    def calibration(self) -> CalibrationParts:
        return required(self.capabilities.calibration, "calibration")

    @property
    def job_list(self) -> JobList:
        store = self.host.store
        return JobList(store.redis, self.batches.jobs, prefix=store.prefix)

    @property
    def conversations(self) -> Conversations:
        return required(self.capabilities.conversations, "conversations")

    @property
    def eraser(self) -> Eraser:
        return required(self.capabilities.erasure, "erasure")

    @property
    def output_caps(self) -> OutputCaps:
        return required(self.capabilities.output_caps, "output-caps")

    @property
    def passthrough(self) -> Owners:
        return required(self.capabilities.passthrough, "passthrough")

    @property
    def prompt_caching(self) -> PromptCaching:
        return required(self.capabilities.prompt_caching, "prompt-caching")

    @property
    def routing(self) -> Routing:
        return required(self.capabilities.routing, "routing")

    @property
    def verification(self) -> VerificationParts:
        return required(self.capabilities.verification, "verification")

    @property
    def trials(self) -> TrialParts:
        routing = self.capabilities.routing
        return required(None if routing is None else routing.trials, "trials")
