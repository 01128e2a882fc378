"""`POST /v1/lint`: what in a request costs tokens for nothing. Changes nothing, asks nobody."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from cacheserver.answer import usd
from cacheserver.api.body import parse, read_body
from cacheserver.api.edge import edge_of
from cacheserver.errors import BadRequest, StoreError
from cacheserver.parts import Parts
from cacheserver.policy import fingerprint, lint, timerange
from cacheserver.policy.estimate import prompt_tokens
from cacheserver.types import Nanodollars, Usage

router = APIRouter(tags=["query"])

# Where nobody says how often a prompt is sent, and nothing was asked yet: to compare findings by.
REQUESTS_A_DAY = 1_000
_MOST = 1_000_000_000


@router.post("/v1/lint", summary="Find wasted tokens in a request")
async def check(request: Request, requests_a_day: int | None = None) -> dict[str, Any]:
    """The findings for a Messages body, dearest first.

    Each has tokens as they are and as proposed (estimates), and what the proposal saves a day: at
    `requests_a_day`, or at what the tenant asked in the last 24 hours.
    """
    edge = edge_of(request)
    caller = await edge.gate.admit(request)
    raw = await read_body(request, edge.max_body_bytes)
    if requests_a_day is None:
        requests_a_day = await _measured(edge.parts, caller.tenant.name) or REQUESTS_A_DAY
    if not 1 <= requests_a_day <= _MOST:
        raise BadRequest("requests_a_day", f"must be 1 to {_MOST}")
    now, pricer = edge.parts.clock(), edge.parts.pricer

    def price(model: str, usage: Usage) -> Nanodollars | None:
        return pricer.cost(model, usage, now)

    model, a_day, size = edge.parts.default_model, requests_a_day, len(raw)
    return await edge.heavy.do(size, lambda: report(parse(raw), a_day, price, model))


async def _measured(parts: Parts, tenant: str) -> int:
    """The tenant's requests of the last 24 hours; 0 where the ledger cannot be read."""
    now = parts.clock()
    tiles = list(timerange.tiles(*timerange.covered(now - 86_400, now, now)))
    try:
        sums = await parts.ledger_sums.read([tenant], tiles, lambda cell: "all")
    except StoreError:
        parts.metrics.swallowed("lint")
        return 0
    return sums.get("all", {}).get("requests", 0)


def report(
    body: dict[str, Any], requests_a_day: int, price: lint.Price, default_model: str
) -> dict[str, Any]:
    """The findings as they are shown. Raises `BadRequest` for a body that is none."""
    fingerprint.check(body)
    model = default_model if body["model"] == fingerprint.AUTO else body["model"]
    found = lint.lint(body, model=model, requests_a_day=requests_a_day, price=price)
    shown = [
        {**asdict(one), "saves": None if one.saves is None else usd(one.saves)} for one in found
    ]
    for one in shown:
        one["saves_usd_a_day"] = one.pop("saves")
    return {
        "model": model,
        "tokens": prompt_tokens(body, model),
        "requests_a_day": requests_a_day,
        "findings": shown,
    }
