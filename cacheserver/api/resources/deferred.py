"""Deferred questions: `when`, `deadline` and `webhook`. They are answered later, as jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cacheserver.api.dependencies import Caller
from cacheserver.api.resources.batches import batching_of
from cacheserver.batches.jobs import Job, new_id
from cacheserver.batches.scheduler import BatchScheduler
from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest
from cacheserver.core.types import Query, Tenant

FIELDS = frozenset({"when", "deadline", "webhook"})

_MAX_DEADLINE_S = 5 * 86_400  # what is under way is kept for a week


@dataclass(frozen=True, slots=True)
class Deferral:
    """The deadline of a deferred question, and its webhook."""

    batch: bool  # `when: "batch"`; False: a deadline only
    deadline: float | None  # Unix seconds
    webhook: str | None


def read_later(fields: Mapping[str, Any], now: float) -> tuple[Deferral | None, dict[str, Any]]:
    """Split a question into its timing, None if it is to be answered now, and its other fields.

    Raises `BadRequest` naming the field.
    """
    rest = {name: value for name, value in fields.items() if name not in FIELDS}
    when, webhook = fields.get("when"), fields.get("webhook")
    if when not in (None, "now", "batch"):
        raise BadRequest("when", "must be `now` or `batch`")
    deadline = _deadline(fields.get("deadline"), now)
    if when != "batch" and deadline is None:
        if webhook is not None:
            raise BadRequest("webhook", "needs a deferred question: give `when` or `deadline`")
        return None, rest
    if webhook is not None and not isinstance(webhook, str):
        raise BadRequest("webhook", "must be an https URL")
    if fields.get("conversation") is not None:
        raise BadRequest(
            "conversation", "does not go with a deferred question: later turns may come first"
        )
    if fields.get("stream"):
        raise BadRequest("stream", "a deferred question is not streamed; read its job's events")
    return Deferral(when == "batch", deadline, webhook), rest


async def queue(request: Request, caller: Caller, query: Query, later: Deferral) -> Response:
    """Take a question as a job: 202 and the job.

    Raises `BadRequest`, `StoreError`, and `OverBudget` where it could not be asked any more.
    """
    taken = await take(batching_of(request), caller.tenant, query, later, key_id=caller.key_id)
    return Response(
        json_text.dumps(show(taken, None)),
        status_code=202,
        media_type="application/json",
        headers={"location": f"/v1/jobs/{taken.id}"},
    )


async def take(
    batching: BatchScheduler, tenant: Tenant, query: Query, later: Deferral, *, key_id: str | None
) -> Job:
    """Take a question as a job. Raises as `queue` does."""
    rules = tenant.batching
    if query.credential is not None:
        raise BadRequest("when", "needs the server's key: a key of your own is not kept for later")
    webhook = later.webhook
    if webhook is not None:
        webhook = await batching.webhooks.check(webhook, rules, field="webhook")
    await batching.afford_one(query)
    job = Job(
        id=new_id("query"),
        kind="query",
        tenant=tenant.name,
        created_at=0,
        total=0,
        key_id=key_id,
        headers=query.headers,
        controls=query.controls,
        deadline=later.deadline,
        conversation=query.conversation,
        wait=later.batch,
        open_ended=query.open_ended,
        webhook=webhook,
    )
    return await batching.take(job, [("query", query.raw)], keep_s=rules.keep_s)


def show(job: Job, line: bytes | None) -> dict[str, Any]:
    """Build the response of a job; `line` is the result of a question that has ended."""
    webhook = None if job.webhook is None else job.webhook_state or "waiting"
    return {
        "id": job.id,
        "kind": job.kind,
        "status": job.status,
        "created_at": job.created_at,
        "deadline": job.deadline,
        "ended_at": job.ended_at,
        "total": job.total,
        "done": job.done,
        "counts": dict(job.counts or {}),
        "webhook": webhook,
        "result": None if line is None else _result(json_text.loads(line)),
    }


def _result(line: Mapping[str, Any]) -> dict[str, Any]:
    result = line["result"]
    if result["type"] != "succeeded":
        return {**result, **line.get("cache", {})}
    message = result["message"]
    content = message.get("content") or []
    return {
        "type": "succeeded",
        "text": "".join(block["text"] for block in content if block["type"] == "text"),
        "content": content,
        "model": message.get("model"),
        "stop_reason": message.get("stop_reason"),
        "usage": message.get("usage"),
        **line.get("cache", {}),
    }


def _deadline(given: object, now: float) -> float | None:
    """Read a deadline, in seconds from now or as an ISO 8601 time with offset, as Unix seconds."""
    match given:
        case None:
            return None
        case bool():
            raise BadRequest("deadline", "must be seconds from now, or an ISO 8601 time")
        case int() | float():
            at = now + given
        case str():
            try:
                found = datetime.fromisoformat(given)
            except ValueError:
                raise BadRequest("deadline", "is no ISO 8601 time") from None
            if found.tzinfo is None:
                raise BadRequest("deadline", "must say its offset from UTC, as in `...+00:00`")
            at = found.timestamp()
        case _:
            raise BadRequest("deadline", "must be seconds from now, or an ISO 8601 time")
    if not now < at <= now + _MAX_DEADLINE_S:
        raise BadRequest("deadline", f"must be in the future, {_MAX_DEADLINE_S} seconds at most")
    return at
