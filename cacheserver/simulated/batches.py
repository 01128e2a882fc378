"""Simulated Message Batches API.

Nothing runs in the background: `advance` does what is due, and every request calls it first. With
n requests, the i-th is answered at created + batch_s * i / n; what is not by 24 hours expires.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cacheserver.simulated.caller import Caller
from cacheserver.simulated.errors import ApiError, invalid

MAX_REQUESTS = 100_000
EXPIRES_S = 24 * 3_600
ARCHIVED_S = 29 * 24 * 3_600  # results can be read so long from creation

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")

# Answers the params of one request, made at a time: a result without its custom id.
Answering = Callable[[Any, Caller, float], Mapping[str, Any]]


@dataclass(slots=True)
class _Batch:
    id: str
    caller: Caller
    created_at: float
    requests: list[Mapping[str, Any]]  # empty ones in place of those answered
    results: list[Mapping[str, Any]] = field(default_factory=list)
    cancelled_at: float | None = None
    ended_at: float | None = None


class Batches:
    """The batches of every account."""

    def __init__(self, answer: Answering, *, batch_s: float, cancel_s: float) -> None:
        self._answer = answer
        self._batch_s = batch_s
        self._cancel_s = cancel_s
        self._batches: dict[str, _Batch] = {}  # oldest first

    def create(self, body: Any, caller: Caller, *, now: float) -> str:
        """Take a batch and return its id. Raises a 400; bad params show in the results only."""
        requests = body.get("requests") if isinstance(body, dict) else None
        if not isinstance(requests, list) or not requests:
            raise invalid("requests: at least one request is required")
        if len(requests) > MAX_REQUESTS:
            raise invalid(f"requests: at most {MAX_REQUESTS} requests are allowed")
        seen: set[str] = set()
        for index, request in enumerate(requests):
            custom_id = request.get("custom_id") if isinstance(request, dict) else None
            if not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id):
                raise invalid(f"requests.{index}.custom_id: must match {_CUSTOM_ID.pattern}")
            if custom_id in seen:
                raise invalid(f"requests.{index}.custom_id: {custom_id!r} is not unique")
            if not isinstance(request.get("params"), dict):
                raise invalid(f"requests.{index}.params: Field required")
            seen.add(custom_id)
        batch = _Batch(
            id=f"msgbatch_sim{secrets.token_hex(10)}",
            caller=caller,
            created_at=now,
            requests=requests,
        )
        self._batches[batch.id] = batch
        return batch.id

    def advance(self, now: float) -> None:
        """Do what is due by `now`, in the order in which it was due."""
        open_batches = [batch for batch in self._batches.values() if batch.ended_at is None]
        due = [(at, batch, index) for batch in open_batches for index, at in self._due(batch, now)]
        for at, batch, index in sorted(due, key=lambda each: each[0]):
            batch.results.append(self._result(batch, index, at))
            batch.requests[index] = {}  # they may be 256 MB
        for batch in open_batches:
            if len(batch.results) == len(batch.requests):
                batch.ended_at = self._due_at(batch, len(batch.requests) - 1)

    def cancel(self, batch_id: str, caller: Caller, *, now: float) -> None:
        """Cancel a batch. Raises a 404 for an unknown one, and a 400 if it has ended."""
        batch = self._find(batch_id, caller)
        if batch.ended_at is not None:
            raise invalid(f"Batch {batch_id} cannot be canceled: its processing has ended.")
        if batch.cancelled_at is None:
            batch.cancelled_at = now

    def delete(self, batch_id: str, caller: Caller) -> None:
        """Forget a batch. Raises a 404, or a 400 where it has not ended."""
        if self._find(batch_id, caller).ended_at is None:
            raise invalid(f"Batch {batch_id} cannot be deleted while it is being processed.")
        del self._batches[batch_id]

    def results(self, batch_id: str, caller: Caller, *, now: float) -> Sequence[Mapping[str, Any]]:
        """Return the results. Raises a 404 where there are none to read."""
        batch = self._find(batch_id, caller)
        if batch.ended_at is None:
            raise ApiError(404, f"Batch {batch_id} has no results yet.")
        if now >= batch.created_at + ARCHIVED_S:
            raise ApiError(404, f"The results of batch {batch_id} are no longer kept.")
        return batch.results

    def listed(self, caller: Caller) -> list[str]:
        """Return the ids of the caller's batches, the newest first."""
        ids = [
            batch.id for batch in self._batches.values() if batch.caller.account == caller.account
        ]
        return ids[::-1]

    def show(self, batch_id: str, caller: Caller, *, base_url: str, now: float) -> dict[str, Any]:
        """Return a batch as the API shows it. Raises a 404."""
        batch = self._find(batch_id, caller)
        ended = batch.ended_at is not None
        status = "ended" if ended else "in_progress"
        if not ended and batch.cancelled_at is not None:
            status = "canceling"
        archived_at = batch.created_at + ARCHIVED_S
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": _counts(batch),
            "created_at": _rfc3339(batch.created_at),
            "expires_at": _rfc3339(batch.created_at + EXPIRES_S),
            "ended_at": _rfc3339(batch.ended_at),
            "cancel_initiated_at": _rfc3339(batch.cancelled_at),
            "archived_at": _rfc3339(archived_at) if now >= archived_at else None,
            "results_url": f"{base_url}/v1/messages/batches/{batch.id}/results" if ended else None,
        }

    def clear(self) -> None:
        """Forget every batch."""
        self._batches.clear()

    def _find(self, batch_id: str, caller: Caller) -> _Batch:
        batch = self._batches.get(batch_id)
        if batch is None or batch.caller.account != caller.account:
            raise ApiError(404, f"Batch {batch_id} was not found.")
        return batch

    def _due(self, batch: _Batch, now: float) -> Iterator[tuple[int, float]]:
        for index in range(len(batch.results), len(batch.requests)):
            at = self._due_at(batch, index)
            if at > now:
                return
            yield index, at

    def _due_at(self, batch: _Batch, index: int) -> float:
        share = (index + 1) / len(batch.requests)
        at = min(batch.created_at + self._batch_s * share, batch.created_at + EXPIRES_S)
        if batch.cancelled_at is not None and at > batch.cancelled_at:
            return batch.cancelled_at + self._cancel_s
        return at

    def _result(self, batch: _Batch, index: int, at: float) -> Mapping[str, Any]:
        request = batch.requests[index]
        result: Mapping[str, Any]
        if batch.cancelled_at is not None and at >= batch.cancelled_at:
            result = {"type": "canceled"}
        elif at >= batch.created_at + EXPIRES_S:
            result = {"type": "expired"}
        else:
            result = self._answer(request["params"], batch.caller, at)
        return {"custom_id": request["custom_id"], "result": result}


def _counts(batch: _Batch) -> dict[str, int]:
    kinds = ("succeeded", "errored", "canceled", "expired")
    if batch.ended_at is None:  # nothing else is told before the end
        return {"processing": len(batch.requests), **dict.fromkeys(kinds, 0)}
    found = [result["result"]["type"] for result in batch.results]
    return {"processing": 0, **{kind: found.count(kind) for kind in kinds}}


def _rfc3339(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()
