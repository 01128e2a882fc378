"""The parts that all queued work shares: stores, clock, and how items are read and counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from cacheserver.batches import results
from cacheserver.batches.jobs import Job, Jobs
from cacheserver.batches.pending_rows import PendingRows
from cacheserver.batches.results import ItemResult
from cacheserver.batches.work_queue import FinishedItem, WorkQueue
from cacheserver.cache import fingerprint
from cacheserver.cache.answer import Answer, Settlement
from cacheserver.cache.budget_verdict import Admission, Verdict
from cacheserver.cache.filled import Filled
from cacheserver.cache.ports import DecisionLog, Learner, Pricer
from cacheserver.cache.request import Request
from cacheserver.cache.settlement import priced
from cacheserver.cache.stored_answer import StoredAnswers
from cacheserver.claude.rate_limits import UpstreamLimits
from cacheserver.claude.upstream import Reply
from cacheserver.core import json_text, request_context
from cacheserver.core.errors import BadRequest, StoreError, UpstreamError
from cacheserver.core.ledger_row import Row
from cacheserver.core.request_context import ItemEnd
from cacheserver.core.types import (
    Bar,
    Candidate,
    Decision,
    Entry,
    Hit,
    Miss,
    PlannedCall,
    Query,
    Tenant,
    Usage,
)
from cacheserver.matching.cosine_scale import CosineScale
from cacheserver.matching.language import Language
from cacheserver.storage import stored_row

T = TypeVar("T")

logger = logging.getLogger(__name__)

_BEGUN = 1_000  # jobs whose start and trace are remembered, some 200 kB


class Service(Protocol):
    async def look_up(self, query: Query) -> Decision: ...
    def may_verify(self, query: Query, decision: Miss) -> bool: ...
    async def verify(
        self, request: Request, decision: Miss, *, batched: bool = False
    ) -> Hit | Miss: ...
    async def still_stored(self, query: Query, entry: Entry) -> bool: ...
    async def answer(self, query: Query) -> Answer: ...


class Decider(Protocol):
    async def decide(self, query: Query, found: list[Candidate], bar: Bar) -> Hit | Miss: ...


class CallPlanner(Protocol):
    async def prepare(self, query: Query, vector: Any | None, now: float) -> PlannedCall: ...


class AnswerStore(Protocol):
    async def store(
        self,
        query: Query,
        message: Mapping[str, Any],
        asked_at: float,
        *,
        planned: PlannedCall,
        reply: Reply | None = None,
        shared: bool = True,
    ) -> Filled: ...


class Settler(Protocol):
    def row(self, request: Request, settlement: Settlement) -> Row: ...

    def settle(self, request: Request, settlement: Settlement) -> Mapping[str, str]: ...

    async def recorded(self, request: Request) -> None: ...


class Budgets(Protocol):
    async def hold(self, query: Query, id: str, now: float, *, token: str) -> Admission:
        """Admit a call of a batch and reserve its cost. Raises `StoreError`."""

    async def spent_out(self, tenant: Tenant, key_id: str | None, now: float) -> Verdict | None:
        """The verdict of a spent budget that refuses every call. Raises `StoreError`."""

    async def has_room(self, tenant: Tenant, key_id: str | None, now: float) -> bool:
        """Return whether no budget would refuse a call now. Raises `StoreError`."""


class Tenants(Protocol):
    async def get(self, tenant: str) -> Tenant: ...
    async def pseudonym(self, credential: str) -> str: ...


class Metrics(Protocol):
    def dropped(self, buffer: str, count: int = 1) -> None: ...
    def batched(self, event: str, count: int = 1) -> None: ...
    def swallowed(self, site: str) -> None: ...
    def tokens(self, usage: Usage) -> None: ...


@dataclass(frozen=True, slots=True)
class Intervals:
    """Intervals of the queued work, in seconds."""

    tick_s: float = 1.0  # between rounds if nothing is due: a few commands to the store
    lease_s: float = 15.0  # how long a killed server's work waits for another server
    poll_first_s: float = 5.0  # small batches are often done within a minute
    poll_longest_s: float = 300.0  # under 0.4 calls a minute; "most < 1 h", so 5 minutes are little
    # How long a batch may still appear after a call of unknown outcome: longer than a proxy holds a
    # request.
    settle_s: float = 60.0
    hook_waits_s: tuple[float, ...] = (10, 60, 300, 1_800, 7_200, 21_600)  # a night's outage


@dataclass(slots=True)
class BatchContext:
    """The shared parts. `held_until` is the end of the lease, by the monotonic clock."""

    jobs: Jobs
    work: WorkQueue
    service: Service
    stored: StoredAnswers
    learner: Learner
    tenants: Tenants
    settler: Settler  # its rows are not booked in budgets: that happens as an ask ends
    rows: PendingRows
    budgets: Budgets
    pricer: Pricer
    decision_log: DecisionLog
    metrics: Metrics
    headroom: UpstreamLimits
    clock: Callable[[], float]
    upstream: str  # identity of Claude, part of every fingerprint
    language: Language
    pace: Intervals
    scale: CosineScale = field(default_factory=CosineScale)  # of the embedder's cosines
    observe: Callable[[ItemEnd], None] | None = None  # called for each item that has ended
    held_until: float = field(default=0.0)
    begun: dict[str, tuple[float, str | None]] = field(
        default_factory=dict
    )  # start and trace of recent jobs

    def read(self, job: Job, tenant: Tenant, raw: bytes) -> Query:
        """Read an item as a query. Raises `BadRequest`, also if it is no JSON object."""
        if job.id not in self.begun:
            self.begun[job.id] = job.created_at, job.trace
            if len(self.begun) > _BEGUN:
                del self.begun[next(iter(self.begun))]
        body = json_text.loads(raw)
        query = fingerprint.read(
            body,
            raw,
            headers=job.headers or {},
            tenant=tenant,
            controls=job.controls,
            upstream=self.upstream,
            language=self.language,
            key_id=job.key_id,
            open_ended=job.open_ended,
        )
        return replace(query, conversation=job.conversation, received_at=job.created_at)

    def read_any(self, job: Job, tenant: Tenant, raw: bytes) -> Query:
        """Read an item as a query to be counted; an invalid item gives an empty query."""
        try:
            return self.read(job, tenant, raw)
        except BadRequest:
            return results.unreadable(job, tenant, raw)

    def encode(self, line: ItemResult) -> FinishedItem:
        """Encode a finished batch item, with its ledger row if not yet recorded."""
        if line.counted:
            return line.encode()
        row = self.settler.row(line.request, line.settlement)  # first: the line has its saving
        return replace(line.encode(), row_id=row.id, row=stored_row.encode(row))

    def record(self, line: ItemResult, event: str | None = None) -> None:
        """Count a finished item and enter its row. `event` is what is counted, or its end."""
        if not line.counted:
            self.settler.settle(line.request, line.settlement)
            self.rows.add(line.request.id)
        if self.observe is not None:
            self.observe(self._observed(line))
        self.count(line.query.tenant.name, event or line.end)

    def _observed(self, line: ItemResult) -> ItemEnd:
        now, settled = self.clock(), priced(line.request, line.settlement)
        began, trace = self.begun.get(line.waiter.job, (now, None))
        return ItemEnd(
            job=line.waiter.job,
            place=line.waiter.item,
            tenant=line.query.tenant.name,
            began=began,
            ended=now,
            trace=None if trace is None else request_context.parse_traceparent(trace),
            end=line.end,
            decision_id=line.request.id,
            outcome=settled.outcome,
            reason=settled.decision.reason,
            requested_model=line.query.model,
            model=settled.model,
            usage=None if settled.call is None else settled.usage,
            cost=settled.total_cost,
        )

    def check_lease(self) -> None:
        """Raise `StoreError` if the lease may be over: nothing more may be sent."""
        if time.monotonic() >= self.held_until:
            raise StoreError("the lease of the batch work may have run out")

    async def attempt(self, site: str, step: Coroutine[Any, Any, T]) -> T | None:
        """Return the result of `step`; None if it fails, which is counted and logged."""
        try:
            return await step
        except (StoreError, UpstreamError) as error:
            self.metrics.swallowed(site)
            logger.warning("a step of the batch work failed: %s: %s", site, type(error).__name__)
        except Exception as error:  # the task boundary: the next round tries again
            self.metrics.swallowed(site)
            logger.error("a step of the batch work failed: %s: %s", site, type(error).__name__)
        return None

    def count(self, tenant: str, event: str, count: int = 1) -> None:
        if count:
            self.metrics.batched(event, count)
            self.decision_log.count(tenant, {f"batch_{event}": count})
