"""How an item ends: its line of the results, and what it is counted as.

Rule: an item's line is written in one place, whoever ends it, and each has a row of the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from cacheserver.batches.jobs import Job
from cacheserver.batches.work_queue import FinishedItem, Waiter
from cacheserver.cache import answer as answers
from cacheserver.cache.answer import Settlement, Ticket
from cacheserver.cache.budget_verdict import Verdict
from cacheserver.cache.freshness import unasked
from cacheserver.claude import sse
from cacheserver.core import json_text
from cacheserver.core.ledger_row import GONE
from cacheserver.core.money import usd
from cacheserver.core.types import Bypass, Decision, Miss, Query, Tenant

CANCELED: Final = b'{"type":"canceled"}'
EXPIRED: Final = b'{"type":"expired"}'

# Why an item was given up before Claude answered it, by its end.
GIVEN_UP: Final = {"canceled": Miss("canceled"), "expired": Miss("expired")}

_TIMED_OUT = 504  # of what expired
_STATUS: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


@dataclass(frozen=True, slots=True)
class Line:
    """An item's end. `outcome` None: the decision's kind."""

    waiter: Waiter
    custom_id: str
    query: Query
    end: str  # of `jobs.ENDS`
    result: bytes
    decision: Decision
    settlement: Settlement
    ticket: Ticket
    outcome: str | None = None
    verdict: Verdict | None = None  # of the budget that refused it
    counted: bool = False  # the service has counted it, and its row is in the ledger

    @property
    def told(self) -> FinishedItem:
        """The line; `cache` beside Anthropic's own fields says where it came from."""
        cost, saved = self.settlement.cost, self.settlement.saved
        shown = {
            "kind": answers.kind_of(self.decision),
            "reason": self.decision.reason,
            "decision_id": self.ticket.id,
            "entry_id": self.settlement.stored or answers.entry_id(self.decision),
            "cost_usd": None if cost is None else usd(cost),
            "saved_usd": None if saved is None else usd(saved),
        }
        if self.query.actor is not None:
            shown["actor"] = self.query.actor  # a digest: what is erased by it is found
        if self.verdict is not None:
            found = self.verdict.headers
            names = {"budget": "x-budget", "budget_resets_at": "x-budget-resets-at"}
            shown |= {name: found[header] for name, header in names.items() if header in found}
        line = b'{"custom_id":' + json_text.dumps(self.custom_id) + b',"result":' + self.result
        line += b',"cache":' + json_text.dumps(shown) + b"}"
        return FinishedItem(self.waiter, self.end, line, self.query.tenant.name)


def unanswered(
    waiter: Waiter,
    custom_id: str,
    query: Query,
    end: str,
    result: bytes,
    *,
    decision: Miss | Bypass,
    ticket: Ticket,
) -> Line:
    """The end of an item that brought no answer and cost nothing."""
    status = {"canceled": GONE, "expired": _TIMED_OUT}.get(end) or status_of(result)
    settlement = Settlement(cost=0, saved=0, status=status)
    return Line(
        waiter, custom_id, query, end, result, decision, settlement, ticket, outcome="failed"
    )


def refused(
    waiter: Waiter,
    custom_id: str,
    query: Query,
    decision: Miss | Bypass,
    *,
    ticket: Ticket,
    verdict: Verdict | None = None,
) -> Line:
    """The end of an item that Claude may not be asked for: its caller forbids it, or a budget."""
    near = decision if isinstance(decision, Miss) else Miss("budget")
    if verdict is None:
        (why, message), type = unasked(near), "not_found_error"
    else:
        why, message = replace(near, reason="budget"), verdict.message
        type = verdict.refusal.type
    result = errored(type, message)
    settlement = Settlement(cost=0, saved=0, status=status_of(result))
    return Line(
        waiter, custom_id, query, "errored", result, why, settlement, ticket, verdict=verdict
    )


def unreadable(job: Job, tenant: Tenant, raw: bytes) -> Query:
    """What there is to say of an item that is no request at all: whose it was."""
    return Query(
        body={},
        raw=raw,
        headers={},
        tenant=tenant,
        controls=job.controls,
        fingerprint="",
        scope="",
        text=None,
        exact_only=None,
        bypass="refused",
        model="",
        stream=False,
        key_id=job.key_id,
    )


def status_of(result: bytes) -> int:
    """The status that an `errored` result would have had as a response."""
    error = object_of(result).get("error")
    inner = error.get("error") if isinstance(error, dict) else None
    return _STATUS.get(str(inner.get("type")), 500) if isinstance(inner, dict) else 500


def succeeded(bare: bytes) -> bytes:
    """A result; `bare` is a message without its id, and gets one of its own."""
    return b'{"type":"succeeded","message":' + sse.with_id(bare, sse.message_id()) + b"}"


def errored(type: str, message: str) -> bytes:
    """A result that says why there is none, as Anthropic words it."""
    error = {"type": "error", "error": {"type": type, "message": message}}
    return json_text.dumps({"type": "errored", "error": error})


def as_result(body: bytes) -> bytes:
    """Claude's error to a request as a result."""
    error = object_of(body)
    if error.get("type") != "error":
        return errored("api_error", "Claude refused the request")
    return json_text.dumps({"type": "errored", "error": error})


def object_of(raw: bytes) -> dict[str, Any]:
    """A JSON object; an empty one where it is anything else."""
    try:
        value = json_text.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
