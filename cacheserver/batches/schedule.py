"""Scheduling rules: what is batched, when a batch is sent and polled, and what one may hold.

Rule: what is due when is decided here, from times and counts that are given; nothing here waits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.batching import BatchRules
from cacheserver.core.types import Controls

Way: TypeAlias = Literal["batch", "direct"]

MAX_REQUESTS = 100_000  # of one batch of Claude's (batch processing page)
EXPIRES_S = 24 * 3_600  # when Claude expires a batch

# Asked for: by how much a poll may come early or late, so that servers do not ask in step.
_JITTER = 0.2
_POLL_GROWTH = 1.5

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def choose(
    *,
    wait: bool,
    deadline: float | None,
    now: float,
    rules: BatchRules,
    controls: Controls,
    headroom: float,
    batchable: bool,
) -> Way:
    """Choose a batch or a direct call for queued work.

    `wait`: the caller asked for a batch. `headroom` is the share of Claude's rate limits that
    is left, 0..1; `batchable`, whether the Batches API would take the request at all.
    """
    if not batchable:
        return "direct"
    if not rules.enabled or "batching" in controls.off:
        return "direct"
    if deadline is None:
        return "batch"
    left_s = deadline - now
    if left_s >= rules.patience_s:
        return "batch"
    if headroom * 100 < rules.low_percent and left_s >= rules.low_patience_s:
        return "batch"
    return "direct"


def flush_at(now: float, deadline: float | None, rules: BatchRules) -> float:
    """The latest time at which a queued question is sent, in Unix seconds."""
    latest = now + rules.flush_age_s
    if deadline is not None:
        # What must be back by a deadline gets all of the patience that the rules ask for.
        latest = min(latest, max(now, deadline - rules.patience_s))
    return latest


def give_up_at(now: float, deadline: float | None, rules: BatchRules) -> float:
    """The time at which work that still waits gets a direct call, in Unix seconds."""
    return now + rules.max_wait_s if deadline is None else deadline


def next_poll_s(polls: int, chance: float, *, first_s: float, longest_s: float) -> float:
    """Seconds until a batch is polled again, after `polls` polls; `chance` is 0..1.

    Grows by half each time, so that a short batch is noticed soon and a long one costs few calls.
    """
    grown = first_s
    for _ in range(polls):
        grown = min(grown * _POLL_GROWTH, longest_s)
        if grown == longest_s:
            break
    return grown * (1 - _JITTER + 2 * _JITTER * chance)


def read_requests(body: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """The custom ids and params of a batch. Raises `BadRequest` if Claude would refuse it."""
    requests = body.get("requests")
    if not isinstance(requests, list) or not requests:
        raise BadRequest("requests", "at least one request is required")
    if len(requests) > MAX_REQUESTS:
        raise BadRequest("requests", f"at most {MAX_REQUESTS} requests are allowed")
    if unknown := body.keys() - {"requests"}:
        raise BadRequest(min(unknown)[:64], "Extra inputs are not permitted")
    found: dict[str, Mapping[str, Any]] = {}
    for place, request in enumerate(requests):
        at = f"requests.{place}"
        custom_id = request.get("custom_id") if isinstance(request, dict) else None
        if not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id):
            raise BadRequest(f"{at}.custom_id", f"must match ^{_CUSTOM_ID.pattern}$")
        if custom_id in found:
            raise BadRequest(f"{at}.custom_id", "must be unique within the batch")
        params = request.get("params")
        if not isinstance(params, dict):
            raise BadRequest(f"{at}.params", "Field required")
        found[custom_id] = params
    return list(found.items())


def parts(sizes: Sequence[int], *, most: int, max_bytes: int) -> int:
    """The number of the first of `sizes` (bytes) that fit into one batch; at least one."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if count and (count >= most or total > max_bytes):
            return count
    return len(sizes)
