"""Answers, the settlement of a request in tokens and money, and the headers that describe both."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self

from cacheserver.cache.request import Request
from cacheserver.core.errors import UpstreamError
from cacheserver.core.money import usd
from cacheserver.core.single_flight import Unfinished
from cacheserver.core.types import (
    Bypass,
    Candidate,
    Decision,
    Hit,
    Miss,
    Nanodollars,
    PlannedCall,
    Usage,
)

_WRITTEN = ("curated", "own")  # by people: the answer is not Claude's


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of a request: its decision, tokens and money. None: not known."""

    decision: Decision
    failed: bool = False
    model: str | None = None
    usage: Usage | None = None
    cost: Nanodollars | None = None
    saved: Nanodollars | None = None
    prices: str | None = None  # the version of the prices behind `cost`
    stored: str | None = None  # the id of the entry that was stored
    unstored: str | None = None  # why none was
    ttl_s: int | None = None
    status: int = 200
    planned: PlannedCall | None = None  # the call to Claude that was made for this request
    estimated: bool = False  # `usage` is our estimate: Claude's never came
    call: str | None = None  # Claude's id of the message that was paid for; None: none was
    lost: int = 0  # tries that may be billed though their usage never came
    heard: Usage | None = None  # usage in the `message_start` of the last of them
    way: Literal["direct", "batch", "queued"] = "direct"  # "batch": the caller's own; else ours
    billed: bool = True  # False: a refusal that Claude charges nothing for
    verification: Nanodollars = 0  # paid beside `cost`: the ledger has a row of its own for it

    @property
    def total_cost(self) -> Nanodollars | None:
        """Return the cost with that of verification."""
        return None if self.cost is None else self.cost + self.verification

    @property
    def net_saved(self) -> Nanodollars | None:
        """Return the saving less the cost of verification."""
        return None if self.saved is None else self.saved - self.verification

    @property
    def outcome(self) -> str:
        return "failed" if self.failed else kind_of(self.decision)

    def with_lost(self, call: UpstreamError | Unfinished) -> Settlement:
        """Return the settlement of the request whose call failed: Claude may bill its tries."""
        cost = None if call.lost else self.cost
        return replace(self, cost=cost, planned=call.planned, lost=call.lost, heard=call.heard)


class Events:
    """The raw events of a stream. `aclose` ends it, even if nobody began to read."""

    def __init__(
        self, events: AsyncGenerator[bytes, None], unread: Callable[[], None] | None = None
    ) -> None:
        self._events = events
        self._unread = unread  # called once if it is closed before the first event
        self._watch: Callable[[bytes], Awaitable[None]] | None = None

    def watched(self, watch: Callable[[bytes], Awaitable[None]]) -> Self:
        """Have `watch` awaited for each event before it leaves; return this stream."""
        self._watch = watch
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self._unread = None
        event = await anext(self._events)
        if self._watch is not None:
            await self._watch(event)
        return event

    async def aclose(self) -> None:
        unread, self._unread = self._unread, None
        if unread is not None:
            unread()
        await self._events.aclose()


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: `body` is the message as JSON; a stream has `events` instead, raw SSE events."""

    decision_id: str
    settlement: Settlement
    headers: Mapping[str, str]
    body: bytes = b""
    events: Events | None = None

    @property
    def decision(self) -> Decision:
        return self.settlement.decision


def kind_of(decision: Decision) -> str:
    match decision:
        case Hit(kind=kind):
            return kind
        case Miss():
            return "miss"
        case Bypass():
            return "bypass"


def entry_id(decision: Decision) -> str | None:
    """The id of the entry that was served; None if none was."""
    match decision:
        case Hit(candidate=Candidate(entry=entry)):
            return entry.id
    return None


def headers(request: Request, settlement: Settlement, now: float) -> dict[str, str]:
    """The `x-cache*` and money headers. What is not known when headers leave is absent."""
    decision = settlement.decision
    found = {
        "x-cache": kind_of(decision),
        "x-cache-reason": decision.reason,
        "x-cache-decision": request.id,
    }
    match decision:
        case Hit(candidate=Candidate(entry=entry) as candidate):
            found["x-cache-age"] = str(max(0, int(now - entry.created_at)))
            found["x-cache-entry"] = entry.id
            if entry.origin in _WRITTEN:
                found["x-cache-origin"] = entry.origin
            found["x-cache-ttl"] = str(round(entry.expires_at - entry.created_at))
            if decision.kind == "semantic":
                found |= _candidate_headers(candidate)
        case Miss() if decision.nearest is not None:
            found |= _candidate_headers(decision.nearest)
    if settlement.stored is not None:
        found["x-cache-entry"] = settlement.stored
    if settlement.ttl_s is not None:
        found["x-cache-ttl"] = str(settlement.ttl_s)
    if settlement.total_cost is not None:
        found["x-cost-usd"] = usd(settlement.total_cost)
    if settlement.net_saved is not None:
        found["x-saved-usd"] = usd(settlement.net_saved)
    return found


def lever_headers(planned: PlannedCall) -> dict[str, str]:
    """The headers that say what the levers changed of the request; none if nothing."""
    found = {}
    if planned.route.reason not in ("named", "default"):
        found["x-cache-route"] = f"{planned.route.model}; {planned.route.reason}"
    if planned.plan is not None and planned.plan.marks:
        found["x-cache-plan"] = f"{len(planned.plan.marks)}; {planned.plan.reason}"
    if planned.cap is not None and planned.cap.ours:
        found["x-cache-cap"] = f"{planned.cap.max_tokens}; {planned.cap.reason}"
    if planned.trim is not None:
        found["x-cache-history"] = f"{planned.trim.turns}; {planned.trim.reason}"
    return found


def _candidate_headers(candidate: Candidate) -> dict[str, str]:
    found = {"x-cache-similarity": f"{candidate.similarity:.6f}"}
    if candidate.probability is not None:
        found["x-cache-probability"] = f"{candidate.probability:.6f}"
    if candidate.veto is not None:
        found["x-cache-veto"] = candidate.veto
    return found
