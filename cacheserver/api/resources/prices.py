"""`/v1/prices` and `/v1/estimate`: Claude's prices, and the cost of a prompt or a plan."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.resources import usage_parameters
from cacheserver.api.state import state_of
from cacheserver.pricing.report import estimate_as_json, prices_as_json

router = APIRouter(tags=["usage"])


@router.get("/v1/prices", summary="What each model costs now")
async def prices(request: Request, at: str | None = None) -> dict[str, Any]:
    """List US dollars per million tokens: standard, in batches, fast, and for long prompts.

    `at`: the prices of another time, ISO 8601 or Unix seconds.
    """
    state = state_of(request)
    await state.gate.admit(request)
    now = state.parts.clock() if at is None else usage_parameters.time("at", at)
    return prices_as_json(state.parts.pricer, now)


@router.post("/v1/estimate", summary="What a prompt or a planned workload will cost")
async def estimated(request: Request) -> dict[str, Any]:
    """A Messages body (it has `messages`), the body of a batch (its `requests` are a list), or a
    workload: `model`, `requests`, `input_tokens`, `output_tokens`, and where it applies
    `prefix_tokens`, `ttl`, `reused`, `answered`, `batch`.

    Nothing is sent to Claude. Tokens are estimated from characters.
    """
    state = state_of(request)
    await state.gate.admit(request)
    fields = await state.object(request)
    return estimate_as_json(state.parts.pricer, fields, state.parts.clock())
