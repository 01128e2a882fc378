"""`/admin/v1/prices`: the prices in force with their origin, and changes of them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.admin_act import note_change
from cacheserver.api.json_body import json_body
from cacheserver.api.state import AppState, state_of
from cacheserver.core.errors import BadRequest, Unknown
from cacheserver.pricing.report import origins_as_json

router = APIRouter(prefix="/admin/v1", tags=["admin"])

_PRICE = {"type": ["number", "string", "null"], "description": "USD per million tokens."}
_KINDS = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
_RATES: dict[str, Any] = {
    **dict.fromkeys(_KINDS, _PRICE),
    "web_search": {"type": ["number", "string", "null"], "description": "USD per 1,000 searches."},
}
_MODEL = {
    "type": ["object", "null"],
    "additionalProperties": False,
    "properties": {
        **_RATES,
        "fast": {"type": ["object", "null"], "properties": _RATES},
        "long_prompts": {
            "type": ["object", "null"],
            "description": "Prices of prompts with more tokens than the name says.",
            "additionalProperties": {"type": ["object", "null"], "properties": _RATES},
        },
    },
}
_BODY = json_body(
    {"prices": {"type": "object", "additionalProperties": _MODEL}},
    {
        "a negotiated price": {"prices": {"claude-haiku-5-5": {"input": 0.08, "output": "0.4"}}},
        "of long prompts": {
            "prices": {"claude-haiku-5-5": {"long_prompts": {"100000": {"input": 0.16}}}}
        },
        "back to the default": {"prices": {"claude-haiku-5-5": None}},
    },
    required=("prices",),
)


@router.get("/prices", summary="The prices in force, and where each comes from")
async def prices(request: Request) -> dict[str, Any]:
    """List the prices of every model as `GET /v1/prices` does, with `origin`: `admin`, `file`
    (`CACHESERVER_PRICES`) or `package`; `own` are an admin's changes and `base` what null returns
    to.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    return _shown(state)


@router.put("/prices", summary="Change prices", openapi_extra=_BODY)
async def put_prices(request: Request) -> dict[str, Any]:
    """Change the prices that are named; the others stay. Null takes a price, or all of a model,
    back to the default. `long_prompts` are steps: a price holds for prompts with more tokens.

    In force here at once, and within three seconds on every server that shares the store. Calls
    before this hour keep their price, and every row says by which `prices` it was priced: their
    version changes. The reply is that of `GET`.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "all")  # budgets are kept by prices
    fields = await state.object(request)
    if unknown := fields.keys() - {"prices"}:
        raise Unknown(min(unknown)[:64], "field", min(unknown), ("prices",))
    if not isinstance(given := fields.get("prices"), dict):
        raise BadRequest("prices", "must be an object: models, and their prices")
    before, after = await state.parts.live.prices.change(given)
    note_change(request, before={"prices": before}, after={"prices": after})
    return _shown(state)


def _shown(state: AppState) -> dict[str, Any]:
    parts = state.parts
    return origins_as_json(parts.pricer, parts.live.prices.own, parts.clock())
