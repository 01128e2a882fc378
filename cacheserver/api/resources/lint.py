"""`POST /v1/lint`: findings about wasted tokens in a request. Changes nothing, calls nobody."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.body import parse, read_body
from cacheserver.api.components import Components
from cacheserver.api.state import state_of
from cacheserver.core.errors import BadRequest, StoreError
from cacheserver.core.types import Nanodollars, Usage
from cacheserver.ledger import time_range
from cacheserver.lint.report import REQUESTS_A_DAY, report

router = APIRouter(tags=["query"])

_MOST = 1_000_000_000


@router.post("/v1/lint", summary="Find wasted tokens in a request")
async def check(request: Request, requests_a_day: int | None = None) -> dict[str, Any]:
    """List the findings for a Messages body, most expensive first.

    Each has tokens as they are and as proposed (estimates), and what the proposal saves a day: at
    `requests_a_day`, or at what the tenant asked in the last 24 hours.
    """
    state = state_of(request)
    caller = await state.gate.admit(request)
    raw = await read_body(request, state.max_body_bytes)
    if requests_a_day is None:
        requests_a_day = await _measured(state.parts, caller.tenant.name) or REQUESTS_A_DAY
    if not 1 <= requests_a_day <= _MOST:
        raise BadRequest("requests_a_day", f"must be 1 to {_MOST}")
    now, pricer = state.parts.clock(), state.parts.pricer

    def price(model: str, usage: Usage) -> Nanodollars | None:
        return pricer.cost(model, usage, now)

    model, a_day, size = state.parts.default_model, requests_a_day, len(raw)
    return await state.heavy.do(size, lambda: report(parse(raw), a_day, price, model))


async def _measured(parts: Components, tenant: str) -> int:
    """Return the tenant's requests of the last 24 hours; 0 if the ledger cannot be read."""
    now = parts.clock()
    tiles = list(time_range.split_range(*time_range.align_range(now - 86_400, now, now)))
    try:
        sums = await parts.ledger_reports.read([tenant], tiles, lambda cell: "all")
    except StoreError:
        parts.metrics.swallowed("lint")
        return 0
    return sums.get("all", {}).get("requests", 0)
