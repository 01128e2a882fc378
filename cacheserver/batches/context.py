"""What all who work on queued work share: the stores, the clock, how items are read and counted."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Protocol, TypeVar

from cacheserver.batches import results as lines
from cacheserver.batches.jobs import Job, Jobs
from cacheserver.batches.pending_rows import PendingRows
from cacheserver.batches.results import Line
from cacheserver.batches.work_queue import FinishedItem, WorkQueue
from cacheserver.cache import answer as answers
from cacheserver.cache import fingerprint
from cacheserver.cache.answer import Answer, Settlement, Ticket
from cacheserver.cache.budget_verdict import Admission, Verdict
from cacheserver.cache.fill import Filled
from cacheserver.cache.ports import DecisionLog, Learner, Pricer
from cacheserver.cache.stored_answer import HitServer
from cacheserver.claude.rate_limits import UpstreamLimits
from cacheserver.claude.upstream import Reply
from cacheserver.core import json_text, request_context
from cacheserver.core.errors import BadRequest, StoreError, UpstreamError
from cacheserver.core.ledger_row import Row
from cacheserver.core.request_context import ItemEnd
from cacheserver.core.types import (
    Bar,
    Candidate,
    Cap,
    Decision,
    Hit,
    Miss,
    PlannedCall,
    Query,
    Route,
    Tenant,
    Trim,
    Usage,
)
from cacheserver.ledger import row_codec

T = TypeVar("T")

logger = logging.getLogger(__name__)

_BEGUN = 1_000  # jobs of which it is remembered when they were taken, some 200 kB


class Service(Protocol):
    async def look(self, query: Query) -> Decision: ...
    async def answer(self, query: Query) -> Answer: ...


class Decider(Protocol):
    async def decide(self, query: Query, found: list[Candidate], bar: Bar) -> Hit | Miss: ...


class CallPlanner(Protocol):
    async def prepare(self, query: Query, vector: Any | None, now: float) -> PlannedCall: ...


class Storer(Protocol):
    async def keep(
        self,
        query: Query,
        message: Mapping[str, Any],
        asked_at: float,
        *,
        asked: PlannedCall,
        reply: Reply | None = None,
        shared: bool = True,
    ) -> Filled: ...


class Settler(Protocol):
    def row(
        self,
        query: Query,
        ticket: Ticket,
        decision: Decision,
        settlement: Settlement,
        *,
        outcome: str | None = None,
    ) -> Row: ...

    def settle(
        self,
        query: Query,
        ticket: Ticket,
        decision: Decision,
        settlement: Settlement,
        *,
        outcome: str | None = None,
    ) -> Mapping[str, str]: ...

    async def written(self, ticket: Ticket) -> None: ...


class Budgets(Protocol):
    async def hold(self, query: Query, id: str, now: float, *, token: str) -> Admission:
        """Whether Claude may be asked in a batch. Raises `StoreError`."""

    async def spent_out(self, tenant: Tenant, key_id: str | None, now: float) -> Verdict | None:
        """What refuses all that would have Claude asked. Raises `StoreError`."""


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
    """How fast the work goes. Seconds."""

    tick_s: float = 1.0  # between rounds with nothing to hurry for: a few commands to the store
    lease_s: float = 15.0  # a killed server's work waits so long for another's
    poll_first_s: float = 5.0  # small batches are often done within a minute
    poll_longest_s: float = 300.0  # under 0.4 calls a minute; "most < 1 h", so 5 minutes are little
    # How long after a call of unknown outcome its batch may still appear: longer than any request
    # is held by a proxy on the way.
    settle_s: float = 60.0
    hook_waits_s: tuple[float, ...] = (10, 60, 300, 1_800, 7_200, 21_600)  # a night's outage


@dataclass(slots=True)
class BatchContext:
    """The shared part. `held_until` is the end of the lease, by the monotonic clock."""

    jobs: Jobs
    work: WorkQueue
    service: Service
    hits: HitServer
    learner: Learner
    tenants: Tenants
    settler: Settler  # its rows are not booked in the budgets: that is done as an ask ends
    rows: PendingRows
    budgets: Budgets
    pricer: Pricer
    decision_log: DecisionLog
    metrics: Metrics
    headroom: UpstreamLimits
    clock: Callable[[], float]
    upstream: str  # identity of Claude, part of every fingerprint
    embedder: str
    pace: Intervals
    observe: Callable[[ItemEnd], None] | None = None  # told of each item that has ended
    held_until: float = field(default=0.0)
    begun: dict[str, tuple[float, str | None]] = field(default_factory=dict)  # jobs at work

    def read(self, job: Job, tenant: Tenant, raw: bytes) -> Query:
        """An item as a query. Raises `BadRequest`, also for what is no JSON object."""
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
            embedder=self.embedder,
            key_id=job.key_id,
            open_ended=job.open_ended,
        )
        return replace(query, conversation=job.conversation) if job.conversation else query

    def whose(self, job: Job, tenant: Tenant, raw: bytes) -> Query:
        """An item as a query, to be counted: also where it can not be read."""
        try:
            return self.read(job, tenant, raw)
        except BadRequest:
            return lines.unreadable(job, tenant, raw)

    def told(self, line: Line) -> FinishedItem:
        """An item's end as it is kept, with its row where the ledger has none of it."""
        if line.counted:
            return line.told
        row = self.settler.row(
            line.query, line.ticket, line.decision, line.settlement, outcome=line.outcome
        )
        return replace(line.told, row_id=row.id, row=row_codec.encode(row))

    def ended(self, line: Line, event: str | None = None) -> None:
        """Count an item that has been told, and enter its row. `event` None: as it ended."""
        if not line.counted:
            self.settler.settle(
                line.query, line.ticket, line.decision, line.settlement, outcome=line.outcome
            )
            self.rows.add(line.ticket.id)
        if self.observe is not None:
            self.observe(self._seen(line))
        self.count(line.query.tenant.name, event or line.end)

    def _seen(self, line: Line) -> ItemEnd:
        """What is told of an item to who observes."""
        now, settled = self.clock(), line.settlement
        began, trace = self.begun.get(line.waiter.job, (now, None))
        return ItemEnd(
            job=line.waiter.job,
            place=line.waiter.item,
            tenant=line.query.tenant.name,
            began=began,
            ended=now,
            trace=None if trace is None else request_context.placed(trace),
            end=line.end,
            decision_id=line.ticket.id,
            outcome=line.outcome or answers.kind_of(line.decision),
            reason=line.decision.reason,
            asked=line.query.model,
            model=settled.model,
            usage=None if settled.call is None else settled.usage,
            cost=settled.cost,
        )

    def still_held(self) -> None:
        """Raise `StoreError` where the lease may be over: nothing may be sent any more."""
        if time.monotonic() >= self.held_until:
            raise StoreError("the lease of the batch work may have run out")

    async def tried(self, site: str, step: Coroutine[Any, Any, T]) -> T | None:
        """What `step` returns; None where it failed, which is counted and holds up nothing else."""
        try:
            return await step
        except (StoreError, UpstreamError) as error:
            self.metrics.swallowed(site)
            logger.warning("a step of the batch work failed: %s: %s", site, type(error).__name__)
        except Exception as error:  # the task boundary: it is tried again in the next round
            self.metrics.swallowed(site)
            logger.error("a step of the batch work failed: %s: %s", site, type(error).__name__)
        return None

    def count(self, tenant: str, event: str, count: int = 1) -> None:
        if count:
            self.metrics.batched(event, count)
            self.decision_log.count(tenant, {f"batch_{event}": count})


def pool_of(share: Mapping[str, Any]) -> str:
    """The pool of what may go out in one batch."""
    return hashlib.sha256(json_text.dumps(share, sort_keys=True)).hexdigest()[:24]


def packed(asked: PlannedCall) -> bytes:
    """How Claude is asked, to be remembered until it has answered.

    Without the body, and without the prompt-cache plan: a day later its outcome says nothing of
    how soon a prefix comes again.
    """
    parts = {"route": asked.route, "cap": asked.cap, "trim": asked.trim}
    return json_text.dumps({name: part and asdict(part) for name, part in parts.items()})


def unpacked(raw: bytes) -> PlannedCall:
    """What `packed` wrote, here or by another version: fields it does not know are left out."""
    parts = json_text.loads(raw)
    route = _known(Route, parts["route"])
    cap = _known(Cap, parts["cap"]) if parts.get("cap") else None
    trim = _known(Trim, parts["trim"]) if parts.get("trim") else None
    return PlannedCall(b"", route, cap=cap, trim=trim)


def _known(kind: type[T], given: Mapping[str, Any]) -> T:
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in given.items() if name in names})
