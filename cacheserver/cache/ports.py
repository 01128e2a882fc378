"""The ports of the request path, as protocols. `bootstrap` plugs the capabilities in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
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
from cacheserver.matching.verification_outcome import Plausible, Verified
from cacheserver.storage.stored_row import Details

# What was read of the keys beside each entry, by its id.
Read: TypeAlias = Mapping[str, Sequence[bytes | None]]
NOTHING_READ: Read = MappingProxyType({})


class Lease(Protocol):
    """This server's lease: while it is held, changes of other servers are in force here."""

    @property
    def term(self) -> int:
        """Return the number of the lease; another one after it has lapsed."""

    async def vouch(self, term: int) -> None:
        """Return if what was looked up since `term` may be served now; else `StoreError`."""


class Entries(Protocol):
    """Stored answers, exact and by similarity. Failures raise `StoreError`."""

    async def get(self, fingerprint: str) -> Entry | None:
        """The entry under a fingerprint, expired or not."""

    def expects(self, query: Query) -> bool:
        """Return whether to read the exact entry first: it may be stored. A hint."""

    async def near(
        self,
        query: Query,
        top_k: int,
        *,
        exact: bool = False,
        beside: Callable[[str], Sequence[str]],
    ) -> Near:
        """Return live entries of the query's scope, or why the index was not searched.

        `exact`: the exact entry, too. `beside`: keys to read with an entry, by its id. All is read
        in one round trip.
        """

    async def put(self, entry: Entry, *, keep_s: int, asked_at: float, embed: bool = True) -> bool:
        """Store an entry. False: purged since `asked_at`, or too large.

        `embed` False: do not wait for the embedder, which has failed this request before.
        """

    def touch(self, entry: Entry, saved: Nanodollars) -> None:
        """Note a hit and what it saved, for eviction and for people. The lifetime stays."""


class Claude(Protocol):
    """Claude's API, or a simulation. Raises `UpstreamError` with Claude's own error."""

    async def create(self, call: Call) -> Reply: ...
    def stream(self, call: Call) -> AbstractAsyncContextManager[StreamReply]: ...


# Called for each background call: its kind (`core.ledger_row.SPENDS`), the tenant, Claude's
# message, when it was sent. Never blocks.
Spent: TypeAlias = Callable[[str, str, Mapping[str, Any], float], None]


def unrecorded(kind: str, tenant: str, message: Mapping[str, Any], now: float) -> None:
    """A `Spent` that records nothing."""


class CallPlanner(Protocol):
    """Plans the call to Claude on a miss. A lever that fails is counted and left out."""

    async def prepare(self, query: Query, vector: Any | None, now: float) -> PlannedCall:
        """Plan the call: the body to send, and what each lever changed. Raises nothing."""

    def turn(self, query: Query, planned: PlannedCall) -> AbstractAsyncContextManager[None]:
        """A context held from before the call until its first bytes."""

    def learn(
        self,
        query: Query,
        planned: PlannedCall,
        message: Mapping[str, Any],
        usage: Usage,
        now: float,
    ) -> None:
        """Learn from the answer. Never blocks."""


class Escalation(Protocol):
    """Validates answers of cheaper tiers before they are served. Raises nothing."""

    def holds_back(self, query: Query, planned: PlannedCall) -> bool:
        """Return whether a streamed answer must be complete and validated before it is served."""

    def verdict(self, query: Query, planned: PlannedCall, message: Mapping[str, Any]) -> str | None:
        """The reason why an answer fails validation; None if it passes."""

    def escalate(
        self, query: Query, planned: PlannedCall, message: Mapping[str, Any], why: str, now: float
    ) -> PlannedCall | None:
        """Plan a call one tier up; None if there shall be none."""

    def replaced(self, query: Query, message: Mapping[str, Any], now: float) -> None:
        """Record that an answer was replaced by a better one; it is paid for all the same."""


class Budgets(Protocol):
    async def admit(self, query: Query, id: str, now: float) -> Admission:
        """Reserve the cost of a call, or return the verdict against it. Raises nothing."""


class RateLimits(Protocol):
    async def miss(self, query: Query, id: str) -> None:
        """Admit a miss, until `ended`. Raises `RateLimited`."""

    def ended(self, id: str, tokens: int | None = 0) -> None:
        """Free what a miss holds, less the tokens used; None: not known. Never blocks."""


class Bill(Protocol):
    @property
    def cost(self) -> Nanodollars: ...
    @property
    def version(self) -> str:
        """The version of the prices."""

    @property
    def billed(self) -> bool:
        """False: Claude charges nothing for the message, at any price."""


class Pricer(Protocol):
    @property
    def version(self) -> str:
        """The version of the prices."""

    def bill(self, message: Mapping[str, Any], now: float) -> Bill | None:
        """The bill of a message asked for at `now`; None if the model has no price."""

    def cost(self, model: str, usage: Usage, now: float) -> Nanodollars | None:
        """The cost of a usage at `now`'s prices; None if the model has no price."""


class Ledger(Protocol):
    def append(self, row: Row, details: Details | None = None) -> asyncio.Event:
        """Add a row, and what else is known of the decision of a request that has ended.

        The event is set once they are in Redis, or could not be written.
        """

    def replace(self, row: Row, details: Details) -> asyncio.Event:
        """Put other details beside a row that was added; it counts once. As `append`."""

    async def written(self, done: asyncio.Event) -> None:
        """Wait for such an event; not if Redis is away. Raises nothing."""


class Records(Protocol):
    """Rows and decisions as the ledger writes them."""

    def queued(self, id: str) -> tuple[Row, Details | None] | None:
        """Return a record that is not in Redis yet."""

    async def flush(self) -> None:
        """Wait until all records are stored and count. Raises `StoreError`."""


class DecisionLog(Protocol):
    async def decision(self, tenant: str, decision_id: str) -> dict[str, Any] | None:
        """A decision of the tenant within the last day."""

    def count(self, tenant: str, deltas: Mapping[str, int]) -> None:
        """Add to the tenant's statistics alone."""


class Decider(Protocol):
    async def decide(
        self,
        query: Query,
        found: Sequence[Candidate],
        bar: Bar,
        read: Read = NOTHING_READ,
    ) -> Hit | Miss:
        """The candidate whose answer may be served, or why none may. Raises nothing.

        `read`: what was read of the candidates' outcomes, as for `Outcomes.past`.
        """

    def prepare(self, query: Query) -> None:
        """Do what a decision needs of the question alone. Raises nothing."""

    async def plausible(self, query: Query, decision: Miss, bar: Bar) -> Plausible | None:
        """The candidates of a miss that a model may be asked about. Raises nothing."""


class Calibrations(Protocol):
    """The calibration of each scope; the shipped prior for a scope without labels."""

    async def with_bar(
        self, tenant: str, scope: str, target: float
    ) -> tuple[Calibration, Required]:
        """Return the scope's calibration and the probability that a target requires there."""


class Outcomes(Protocol):
    """The outcomes of earlier hits of stored answers."""

    def keys(self, tenant: str, question_key: str, entry_id: str) -> Sequence[str]:
        """Return the keys of an entry's record, as long as it is a group of its own."""

    async def past(
        self,
        tenant: str,
        question_key: str,
        refs: Sequence[tuple[str, str]],
        read: Read = NOTHING_READ,
    ) -> Mapping[str, EntryRecord]:
        """Return the record of each (entry id, group), by entry id. Raises `StoreError`.

        `read`: what was read of `keys`, by entry id; what is missing there is read.
        """


class Learner(Protocol):
    """Learns off the request path; no request waits for it."""

    def missed(self, query: Query, decision: Miss, entry: Entry) -> None:
        """Compare Claude's answer with the stored answers that were near."""

    def audit(self, query: Query, hit: Candidate, share: float, *, verified: bool) -> None:
        """Audit a hit: ask Claude again. `share` is the share of such hits that are audited.

        `verified`: a yes of the verifying model served it.
        """


class Groups(Protocol):
    async def set_group(self, entry: Entry, group: str) -> None:
        """Put an entry into the group of entries with the same answer."""

    async def corroborate(self, entry: Entry) -> None:
        """Mark an entry as corroborated by a second actor's answer."""


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


class Verifier(Protocol):
    """Asks a model whether a stored answer serves a question."""

    def considers(self, query: Query, decision: Miss) -> bool:
        """Return whether it might ask about this miss. Cheap."""

    async def verify(
        self, query: Query, decision: Miss, found: Plausible, *, batched: bool
    ) -> Verified | None:
        """Ask, now or in the background; None if it is not worth it. Raises nothing.

        `batched`: the miss would be asked in a batch, at the price of one.
        """

    async def observe(
        self, query: Query, candidate: Candidate, *, right: bool, weight: float, served: bool
    ) -> None:
        """Note that a candidate's answer was found right or wrong, if there is a verdict on it.

        `weight` is 1 / the chance that this decision was looked at; `served`: the verdict served
        it. Raises `StoreError`.
        """

    def filled(self, query: Query, seconds: float) -> None:
        """Note how long Claude's own answer took."""
