"""Results of batch items: the line a caller reads, and the settlement it is counted by.

Rule: every line is encoded here, whatever ended its item, and each has a row in the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from cacheserver.batches.jobs import Job
from cacheserver.batches.work_queue import FinishedItem, Waiter
from cacheserver.cache import answer as answers
from cacheserver.cache.answer import Settlement
from cacheserver.cache.budget_verdict import Verdict
from cacheserver.cache.freshness import unasked
from cacheserver.cache.miss.stream_errors import STATUSES
from cacheserver.cache.request import Request
from cacheserver.cache.settlement import priced
from cacheserver.claude import sse
from cacheserver.core import json_text
from cacheserver.core.ledger_row import GONE
from cacheserver.core.money import usd
from cacheserver.core.types import Bypass, Miss, Query, Tenant

CANCELED: Final = b'{"type":"canceled"}'
EXPIRED: Final = b'{"type":"expired"}'

# The decisions for items that ended before Claude answered, by their end.
GIVEN_UP: Final = {"canceled": Miss("canceled"), "expired": Miss("expired")}

_TIMED_OUT = 504  # the status of an expired item


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The result of an item, and the settlement of its request."""

    waiter: Waiter
    custom_id: str
    request: Request
    end: str  # of `jobs.ENDS`
    result: bytes
    settlement: Settlement
    verdict: Verdict | None = None  # of the budget that refused it
    counted: bool = False  # the service has counted it, and its row is in the ledger

    @property
    def query(self) -> Query:
        return self.request.query

    def encode(self) -> FinishedItem:
        """Encode the line of the results; `cache` beside Anthropic's own fields is ours."""
        settlement = priced(self.request, self.settlement)
        decision, cost, saved = settlement.decision, settlement.total_cost, settlement.net_saved
        shown = {
            "kind": answers.kind_of(decision),
            "reason": decision.reason,
            "decision_id": self.request.id,
            "entry_id": settlement.stored or answers.entry_id(decision),
            "cost_usd": None if cost is None else usd(cost),
            "saved_usd": None if saved is None else usd(saved),
        }
        if self.query.actor is not None:
            shown["actor"] = self.query.actor  # a digest: an erasure by actor finds the line
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
    request: Request,
    end: str,
    result: bytes,
    *,
    decision: Miss | Bypass,
) -> ItemResult:
    """The result of an item that got no answer and cost nothing."""
    status = {"canceled": GONE, "expired": _TIMED_OUT}.get(end) or status_of(result)
    settlement = Settlement(decision, failed=True, cost=0, saved=0, status=status)
    return ItemResult(waiter, custom_id, request, end, result, settlement)


def refused(
    waiter: Waiter,
    custom_id: str,
    request: Request,
    decision: Miss | Bypass,
    *,
    verdict: Verdict | None = None,
) -> ItemResult:
    """The result of an item whose caller, or a budget (`verdict`), forbids asking Claude."""
    near = decision if isinstance(decision, Miss) else Miss("budget")
    if verdict is None:
        (why, message), type = unasked(near), "not_found_error"
    else:
        why, message = replace(near, reason="budget"), verdict.message
        type = verdict.refusal.type
    result = errored(type, message)
    settlement = Settlement(why, cost=0, saved=0, status=status_of(result))
    return ItemResult(waiter, custom_id, request, "errored", result, settlement, verdict=verdict)


def unreadable(job: Job, tenant: Tenant, raw: bytes) -> Query:
    """A query for an item that is no valid request, to count it for its tenant."""
    return Query(
        body={},
        raw=raw,
        headers={},
        tenant=tenant,
        controls=job.controls,
        fingerprint="",
        scope="",
        label_scope="",
        text=None,
        exact_only=None,
        bypass="refused",
        model="",
        stream=False,
        key_id=job.key_id,
    )


def way_of(job: Job) -> Literal["batch", "queued"]:
    """Return who put an item into a batch: the caller, or we."""
    return "queued" if job.kind == "query" else "batch"


def status_of(result: bytes) -> int:
    """The HTTP status that an `errored` result would have had as a response."""
    error = object_of(result).get("error")
    inner = error.get("error") if isinstance(error, dict) else None
    return STATUSES.get(str(inner.get("type")), 500) if isinstance(inner, dict) else 500


def succeeded(bare: bytes) -> bytes:
    """Encode a result; `bare` is a message without its id, and gets a new one."""
    return b'{"type":"succeeded","message":' + sse.with_id(bare, sse.message_id()) + b"}"


def errored(type: str, message: str) -> bytes:
    """Encode an error as a result, in the shape of Anthropic's."""
    error = {"type": "error", "error": {"type": type, "message": message}}
    return json_text.dumps({"type": "errored", "error": error})


def as_result(body: bytes) -> bytes:
    """Encode the body of Claude's error response as a result."""
    error = object_of(body)
    if error.get("type") != "error":
        return errored("api_error", "Claude refused the request")
    return json_text.dumps({"type": "errored", "error": error})


def object_of(raw: bytes) -> dict[str, Any]:
    """Decode a JSON object; empty if `raw` is anything else."""
    try:
        value = json_text.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
