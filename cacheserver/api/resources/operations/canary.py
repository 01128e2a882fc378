"""The canary: one question goes through the real path, three times, and is removed again.

Rule: it asks as a tenant whose name no key and no settings can have, so its money stands apart in
every report, and nobody is ever served what it stored.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from cacheserver.api.components import Components
from cacheserver.api.resources.query import answer_as
from cacheserver.core.errors import CallerError, RateLimited, StoreError, UpstreamError
from cacheserver.core.money import usd
from cacheserver.core.types import UNLOOKED, Tenant, Usage
from cacheserver.storage.connection import command

TENANT: Final = "~canary"  # names of tenants begin with a letter, a digit or one of `._-`
EVERY_S: Final = 10  # at most one run in so many seconds, of all servers

_ASKED: Final = "What is the capital of France? Answer in one word."
_LIKE: Final = "What's the capital of France? Answer in one word."
_MOST_TOKENS: Final = 200  # one word; the simulated Claude writes a sentence
_PROMPT_TOKENS: Final = 30
_LIFE_S: Final = 60  # should it not be removed
# Each would change what is asked, or when.
_LEVERS_OFF: Final = ("routing", "batching", "output-cap", "history", "verify")


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    text: str
    expected: str


_STEPS: Final = (
    _Step("asked for the first time", _ASKED, "miss"),
    _Step("asked again", _ASKED, "exact"),
    _Step("asked in other words", _LIKE, "semantic"),
)


def estimate(parts: Components) -> dict[str, Any]:
    """Return what a run asks and the most that it costs: one call, two if nothing similar hits."""
    model = parts.default_model
    one = parts.pricer.cost(model, Usage(_PROMPT_TOKENS, _MOST_TOKENS), parts.clock())
    return {
        "tenant": TENANT,
        "model": model,
        "most_usd": None if one is None else usd(2 * one),
        "every_s": EVERY_S,
    }


async def run(parts: Components) -> dict[str, Any]:
    """Run the canary. Raises `RateLimited` if one ran a moment ago, and `StoreError`."""
    key = f"{parts.host.store.prefix}canary"
    if await command(parts.host.store.redis, "SET", key, "1", "NX", "EX", EVERY_S) is None:
        raise RateLimited(
            f"the canary ran less than {EVERY_S} s ago", headers={"retry-after": str(EVERY_S)}
        )
    tenant = _tenant(parts)
    try:
        steps = [await _asked(parts, tenant, step) for step in _STEPS]
    finally:
        removed = await _remove(parts)
    statuses = [one["status"] for one in steps]
    status = "failed" if "failed" in statuses else "degraded" if "degraded" in statuses else "ok"
    costs = [one["cost_nano"] for one in steps]
    for one in steps:
        del one["cost_nano"]
    return {
        "status": status,
        "steps": steps,
        "removed_entries": removed,
        "cost_usd": None if None in costs else usd(sum(costs)),
        **{name: value for name, value in estimate(parts).items() if name in ("tenant", "model")},
    }


def _tenant(parts: Components) -> Tenant:
    """Return the server's default settings, without what would ask Claude once more."""
    fresh = parts.tenants.fresh(TENANT)
    return replace(
        fresh,
        default_ttl_s=_LIFE_S,
        max_ttl_s=max(_LIFE_S, fresh.max_ttl_s),
        bar=replace(fresh.bar, audit_share=0.0),
    )


async def _asked(parts: Components, tenant: Tenant, step: _Step) -> dict[str, Any]:
    fields = {
        "prompt": step.text,
        "model": parts.default_model,
        "max_tokens": _MOST_TOKENS,
        "levers_off": list(_LEVERS_OFF),
    }
    began = time.perf_counter()
    kind, reason, error = "failed", "", None
    decision: str | None = None
    cost: int | None = 0
    try:
        _, answer = await answer_as(parts, tenant, fields)
        kind, reason = answer.headers["x-cache"], answer.headers["x-cache-reason"]
        decision, cost = answer.headers.get("x-cache-decision"), _nano(answer.headers)
    except UpstreamError as failed:
        reason, error = "upstream", f"Claude answered {failed.status}"
    except CallerError as failed:
        reason, error = failed.type, failed.message
    ms = round((time.perf_counter() - began) * 1_000, 1)
    status, do = _judged(step, kind, reason)
    return {
        "step": step.name,
        "expected": step.expected,
        "got": kind,
        "reason": reason,
        "error": error,
        "ms": ms,
        "status": status,
        "do": do,
        "decision_id": decision,
        "cost_usd": None if cost is None else usd(cost),
        "cost_nano": cost,
    }


def _judged(step: _Step, kind: str, reason: str) -> tuple[str, str | None]:
    """Return the status of a step, and what to do unless it is as expected."""
    if kind == step.expected:
        return "ok", None
    match step.expected:
        case "miss" if kind in ("exact", "semantic", "coalesced"):
            return "ok", "An answer of an earlier run was still there."
        case "miss":
            return "failed", "Claude was not asked or did not answer: see the check `upstream`."
        case "exact":
            return "failed", "The answer was not stored or not found: see the check `store`."
    if kind == "miss" and reason in UNLOOKED:
        return "degraded", "Similar questions are not found now: see `index` and `embedder`."
    # A strict bar, not a fault: by the prior alone few questions are sure enough to be served.
    return "ok", f"Not served by similarity (`{reason}`): the server's bar is strict."


def _nano(headers: Mapping[str, str]) -> int | None:
    """Return what an answer cost; None: its model has no price."""
    text = headers.get("x-cost-usd")
    return None if text is None else int(Decimal(text) * 1_000_000_000)


async def _remove(parts: Components) -> int:
    try:
        return await parts.entries.entries.purge_tenant(TENANT)
    except StoreError:
        parts.metrics.swallowed("canary")
        return 0  # gone in a minute by itself
