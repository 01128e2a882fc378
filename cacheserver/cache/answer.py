"""What leaves: an answer, the headers that say where it came from, and the record kept of it."""

from __future__ import annotations

import secrets
from asyncio import Event
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

from cacheserver.core import request_context
from cacheserver.core.ledger_row import Row
from cacheserver.core.money import usd
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


@dataclass(slots=True)
class Ticket:
    """One request on its way through: settled exactly once, by whoever sees its end."""

    started_at: float
    id: str = field(default_factory=lambda: f"dec_{secrets.token_hex(12)}")
    settled: bool = False
    row: Row | None = None  # made ahead of the end; None: it is made there
    written: Event | None = None  # set once its row is in the ledger, or could not be written

    @classmethod
    def taken(cls, now: float) -> Self:
        """A ticket for the HTTP request under way, if there is one: logs and traces name it."""
        ticket = cls(now)
        if (seen := request_context.current()) is not None:
            seen.decision_id = ticket.id
        return ticket


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a request ended, in tokens and money. None: not known."""

    model: str | None = None
    usage: Usage | None = None
    cost: Nanodollars | None = None
    saved: Nanodollars | None = None
    prices: str | None = None  # the version of the prices behind `cost`
    stored: str | None = None  # the id of the entry it left behind
    unstored: str | None = None  # why it left none
    ttl_s: int | None = None
    status: int = 200
    asked: PlannedCall | None = None  # how Claude was asked, where it was for this request
    estimated: bool = False  # `usage` is ours: Claude's never came
    call: str | None = None  # Claude's id of the message that was paid for; None: none was
    lost: int = 0  # tries that may be billed though their usage never came
    heard: Usage | None = None  # of the last of them, what its `message_start` said
    way: Literal["direct", "batch", "queued"] = "direct"  # "batch": the caller's own; else ours


class Events:
    """A stream's raw events. `aclose` ends it, also where nobody began to read."""

    def __init__(
        self, events: AsyncGenerator[bytes, None], unread: Callable[[], None] | None = None
    ) -> None:
        self._events = events
        self._unread = unread  # called once where it is closed before the first event
        self._watch: Callable[[bytes], Awaitable[None]] | None = None

    def watched(self, watch: Callable[[bytes], Awaitable[None]]) -> Self:
        """The same, with `watch` awaited for each event before it leaves."""
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
    """`body` is the message as JSON; a stream has `events` instead, raw SSE events."""

    decision_id: str
    decision: Decision
    settlement: Settlement
    headers: Mapping[str, str]
    body: bytes = b""
    events: Events | None = None


def kind_of(decision: Decision) -> str:
    match decision:
        case Hit(kind=kind):
            return kind
        case Miss():
            return "miss"
        case Bypass():
            return "bypass"


def entry_id(decision: Decision) -> str | None:
    """The id of the entry that was served; None where none was."""
    match decision:
        case Hit(candidate=Candidate(entry=entry)):
            return entry.id
    return None


def headers(
    ticket: Ticket, decision: Decision, settlement: Settlement, now: float
) -> dict[str, str]:
    """The `x-cache*` and money headers; what is not known when headers leave is absent."""
    found = {
        "x-cache": kind_of(decision),
        "x-cache-reason": decision.reason,
        "x-cache-decision": ticket.id,
    }
    match decision:
        case Hit(candidate=Candidate(entry=entry) as candidate):
            found["x-cache-age"] = str(max(0, int(now - entry.created_at)))
            found["x-cache-entry"] = entry.id
            found["x-cache-ttl"] = str(round(entry.expires_at - entry.created_at))
            if decision.kind == "semantic":
                found |= _told(candidate)
        case Miss() if decision.nearest is not None:
            found |= _told(decision.nearest)
    if settlement.stored is not None:
        found["x-cache-entry"] = settlement.stored
    if settlement.ttl_s is not None:
        found["x-cache-ttl"] = str(settlement.ttl_s)
    if settlement.cost is not None:
        found["x-cost-usd"] = usd(settlement.cost)
    if settlement.saved is not None:
        found["x-saved-usd"] = usd(settlement.saved)
    return found


def told(asked: PlannedCall) -> dict[str, str]:
    """The headers that say what a lever changed of what the caller asked; none: nothing."""
    found = {}
    if asked.route.reason not in ("named", "default"):
        found["x-cache-route"] = f"{asked.route.model}; {asked.route.reason}"
    if asked.plan is not None and asked.plan.marks:
        found["x-cache-plan"] = f"{len(asked.plan.marks)}; {asked.plan.reason}"
    if asked.cap is not None and asked.cap.ours:
        found["x-cache-cap"] = f"{asked.cap.max_tokens}; {asked.cap.reason}"
    if asked.trim is not None:
        found["x-cache-history"] = f"{asked.trim.turns}; {asked.trim.reason}"
    return found


def _told(candidate: Candidate) -> dict[str, str]:
    told = {"x-cache-similarity": f"{candidate.similarity:.6f}"}
    if candidate.probability is not None:
        told["x-cache-probability"] = f"{candidate.probability:.6f}"
    if candidate.veto is not None:
        told["x-cache-veto"] = candidate.veto
    return told
