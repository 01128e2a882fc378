"""What the path needs of other packages, as protocols. `bootstrap` plugs the real parts in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias

from cacheserver.cache.budget_verdict import Admission
from cacheserver.claude.upstream import Call, Reply, StreamReply
from cacheserver.core.ledger_row import Row
from cacheserver.core.types import (
    Bar,
    Candidate,
    Entry,
    Hit,
    Miss,
    Nanodollars,
    Near,
    PlannedCall,
    Query,
    Usage,
)
from cacheserver.matching.calibration import Calibration
from cacheserver.matching.conformal_bound import Bar as Required
from cacheserver.matching.shrinkage import EntryRecord


class Entries(Protocol):
    """Stored answers, exact and by similarity. What cannot be done raises `StoreError`."""

    async def get(self, fingerprint: str) -> Entry | None:
        """The entry under a fingerprint, one past its deadline included."""

    async def near(self, query: Query, top_k: int) -> Near:
        """Live entries of the query's scope, or why similarity was not asked."""

    async def put(self, entry: Entry, *, keep_s: int, asked_at: float) -> bool:
        """Store, in place of what the fingerprint held. False: purged since, or too large."""

    def touch(self, entry: Entry) -> None:
        """Note a hit, for eviction. Never lengthens a life."""


class Claude(Protocol):
    """Claude, or what stands for it. Raises `UpstreamError` with Claude's own words."""

    async def create(self, call: Call) -> Reply: ...
    def stream(self, call: Call) -> AbstractAsyncContextManager[StreamReply]: ...


# Told of a call that nobody waits for: its kind (`core.ledger_row.SPENDS`), the tenant, Claude's
# message, when it was sent. Never blocks.
Spent: TypeAlias = Callable[[str, str, Mapping[str, Any], float], None]


def untold(kind: str, tenant: str, message: Mapping[str, Any], now: float) -> None:
    """A `Spent` that keeps no books."""


class CallPlanner(Protocol):
    """How Claude is asked on a miss. What of it fails is counted, and left out."""

    async def prepare(self, query: Query, vector: Any | None, now: float) -> PlannedCall:
        """The body that goes upstream, and what each lever did to it. Raises nothing."""

    def turn(self, query: Query, asked: PlannedCall) -> AbstractAsyncContextManager[None]:
        """Held from before the call until its first bytes."""

    def learn(
        self, query: Query, asked: PlannedCall, message: Mapping[str, Any], usage: Usage, now: float
    ) -> None:
        """Learn from what came back. Never blocks."""


class Escalation(Protocol):
    """Answers of cheaper tiers, looked at before anybody has them. Raises nothing."""

    def holds_back(self, query: Query, asked: PlannedCall) -> bool:
        """Whether a stream is to be asked for whole, looked at, and then streamed."""

    def verdict(self, query: Query, asked: PlannedCall, message: Mapping[str, Any]) -> str | None:
        """Why an answer will not do; None: it will."""

    def escalate(
        self, query: Query, asked: PlannedCall, message: Mapping[str, Any], why: str, now: float
    ) -> PlannedCall | None:
        """How it is asked again, one tier up; None: it is not."""

    def replaced(self, query: Query, message: Mapping[str, Any], now: float) -> None:
        """A better answer has come in place of this one, which was paid for all the same."""


class Budgets(Protocol):
    async def admit(self, query: Query, id: str, now: float) -> Admission:
        """Whether Claude may be asked. Raises nothing."""


class RateLimits(Protocol):
    async def miss(self, query: Query, id: str) -> None:
        """Let a miss in until `ended`. Raises `RateLimited`."""

    def ended(self, id: str, tokens: int | None = 0) -> None:
        """Free what a miss has taken, but for the tokens it used; None: not known. Never blocks."""


class Bill(Protocol):
    @property
    def cost(self) -> Nanodollars: ...
    @property
    def version(self) -> str:
        """Which prices it was made with."""


class Pricer(Protocol):
    def bill(self, message: Mapping[str, Any], now: float) -> Bill | None:
        """What Claude charges for a message sent at `now`; None where it has no price."""

    def cost(self, model: str, usage: Usage, now: float) -> Nanodollars | None:
        """What that usage costs at `now`'s price; None where the model has no price."""


class Ledger(Protocol):
    def put(self, row: Row) -> asyncio.Event:
        """Take a row; the event is set once it is in Redis or could not be written."""

    async def written(self, done: asyncio.Event) -> None:
        """Wait for such an event; not where Redis is away. Raises nothing."""


class DecisionLog(Protocol):
    def record(
        self, tenant: str, decision_id: str, decision: dict[str, Any], deltas: Mapping[str, int]
    ) -> None:
        """Keep a decision for a day and add to the tenant's statistics. Never blocks."""

    async def decision(self, tenant: str, decision_id: str) -> dict[str, Any] | None:
        """A decision of the tenant's within the last day."""

    def count(self, tenant: str, deltas: Mapping[str, int]) -> None:
        """Add to the tenant's statistics alone."""


class Decider(Protocol):
    async def decide(self, query: Query, found: Sequence[Candidate], bar: Bar) -> Hit | Miss:
        """The candidate whose answer may be served, or why none may. Raises nothing."""


class Calibrations(Protocol):
    """What each scope has learned; the shipped prior if it has learned nothing."""

    async def barred(self, tenant: str, scope: str, target: float) -> tuple[Calibration, Required]:
        """Return the scope's calibration and the probability that a target requires there."""


class Outcomes(Protocol):
    """What became of the hits of stored answers."""

    async def past(
        self, tenant: str, question_key: str, refs: Sequence[tuple[str, str]]
    ) -> Mapping[str, EntryRecord]:
        """Return the record of each (entry id, group), by entry id. Raises `StoreError`."""


class Learner(Protocol):
    """Learns off the request path; nothing of it is waited for."""

    def missed(self, query: Query, decision: Miss, entry: Entry) -> None:
        """Claude answered what stored answers came near to."""

    def audit(self, query: Query, hit: Candidate, share: float) -> None:
        """A hit is to be asked again; `share` of such hits are."""


class Groups(Protocol):
    async def set_group(self, entry: Entry, group: str) -> None:
        """Say that an entry's answer says what the group's do."""

    async def corroborate(self, entry: Entry) -> None:
        """Say that a second actor's answer agreed with an entry's."""


class Metrics(Protocol):
    def vetoed(self, veto: str) -> None: ...
    def dropped(self, buffer: str, count: int = 1) -> None: ...
    def alerted(self, kind: str) -> None: ...
    def settled(self, outcome: str, reason: str, seconds: float) -> None: ...
    def money(self, cost: Nanodollars, saved: Nanodollars) -> None: ...
    def unpriced(self) -> None: ...
    def swallowed(self, site: str) -> None: ...
    def tokens(self, usage: Usage) -> None: ...
    def upstream(self, status: int, seconds: float) -> None: ...
    def abandoned(self) -> None: ...
