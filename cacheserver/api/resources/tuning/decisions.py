"""Lists of decisions of the last day: by time, and the misses by what a hit would have saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import nan
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from cacheserver.api.known_names import tenant_of
from cacheserver.api.resources import usage_parameters
from cacheserver.api.resources.entries.readable_texts import reads_decision, reads_served
from cacheserver.api.resources.tuning import lists
from cacheserver.api.state import AppState, state_of
from cacheserver.cache import explanation
from cacheserver.cache.controls import name as checked_name
from cacheserver.cache.store.decision_filters import Filters, Range
from cacheserver.cache.store.decision_search import Found
from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest
from cacheserver.core.keyed_digests import NO_CONTENT
from cacheserver.core.ledger_row import OUTCOMES
from cacheserver.core.rules.bounds import SCOPE

router = APIRouter()

_OUTCOMES: Final = tuple(one for one in OUTCOMES if one != "background")
_MOST_TEXT: Final = 200

_NAMED: Final[Mapping[str, str]] = {
    "namespace": "Its namespace.",
    "scope": "Its scope.",
    "reason": "Its reason, for example `below-bar`.",
    "veto": "The veto of the candidate that was served or came nearest.",
    "model": "The model that was asked for, or answered.",
    "text": "A part of its question, in upper or lower case.",
}
_RANGES: Final[Mapping[str, str]] = {
    "similarity_min": "The least similarity of the candidate served or nearest.",
    "similarity_max": "The greatest.",
    "probability_min": "The least probability that its answer serves.",
    "probability_max": "The greatest.",
}
_TIMES: Final[Mapping[str, str]] = {
    "from": "Not before this time: Unix seconds or ISO 8601.",
    "to": "Before this time.",
}
_OUTCOME: Final = {"outcome": f"One of {', '.join(_OUTCOMES)}."}
_TENANT: Final = {"tenant": "Its tenant; all of them if it is not given."}
_EVERY: Final[Mapping[str, str]] = {**_NAMED, **_RANGES, **_TIMES, **lists.PAGE}


_OWN: Final[Mapping[str, str]] = {**_OUTCOME, **_EVERY}
_ADMINS: Final[Mapping[str, str]] = {**_TENANT, **_OUTCOME, **_EVERY}
_MISSES: Final[Mapping[str, str]] = {**_TENANT, **_EVERY}


@router.get(
    "/v1/decisions",
    tags=["operations"],
    summary="Your decisions of the last day, newest first",
    openapi_extra=lists.described(_OWN),
)
async def own_decisions(request: Request) -> Response:
    """List and search the tenant's decisions, each as `GET /v1/decisions/{id}` shows it.

    Those of other keys have no texts, and `text` does not find them, unless the tenant's setting
    `keys_read_content` is on. A page that took too long to fill has fewer items and a `next`.
    """
    state = state_of(request)
    caller = await state.gate.admit(request)
    tenant, readable = caller.tenant, partial(reads_decision, caller)
    filters, limit, cursor = _read(request, _OWN)
    found = await state.parts.decision_search.newest(
        replace(filters, readable=readable), tenant=tenant.name, limit=limit, cursor=cursor
    )
    items = [
        explanation.record_for_caller(record, texts=readable(record), others=reads_served(caller))
        for _, record in found.items
    ]
    return _page(items, found, withheld=tenant.no_content)


@router.get(
    "/admin/v1/decisions",
    tags=["admin"],
    summary="Decisions of the last day, newest first",
    openapi_extra=lists.described(_ADMINS),
)
async def decisions(request: Request) -> Response:
    """List and search the decisions of a tenant or of all, with the questions of their candidates.

    Each is as `GET /admin/v1/tenants/{name}/decisions/{id}` shows it, without the evidence and the
    plan of the call. A page that took too long to fill has fewer items and a `next`.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    filters, limit, cursor = _read(request, _ADMINS)
    tenant, withheld = await _tenant(state, request)
    found = await state.parts.decision_search.newest(
        filters, tenant=tenant, limit=limit, cursor=cursor
    )
    return _page([_shown(*one) for one in found.items], found, withheld=withheld)


@router.get(
    "/admin/v1/near-misses",
    tags=["admin"],
    summary="Misses that had a similar question, by what a hit would have saved",
    openapi_extra=lists.described(_MISSES),
)
async def near_misses(request: Request) -> Response:
    """List the misses of the last day that had a candidate, the most expensive first.

    `would_have_saved_usd` is what the call cost that a hit would have saved. Misses whose cost is
    not known are left out.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    filters, limit, cursor = _read(request, _MISSES)
    tenant, withheld = await _tenant(state, request)
    found = await state.parts.decision_search.near_misses(
        filters, tenant=tenant, limit=limit, cursor=cursor
    )
    items = [
        {"would_have_saved_usd": record["cost_usd"], **_shown(name, record)}
        for name, record in found.items
    ]
    return _page(items, found, withheld=withheld)


async def _tenant(state: AppState, request: Request) -> tuple[str | None, bool]:
    """Return the tenant that is asked for, and whether it keeps no content."""
    if (name := request.query_params.get("tenant")) is None:
        return None, False
    tenant = await tenant_of(state, name)
    return tenant.name, tenant.no_content


def _page(items: list[dict[str, Any]], found: Found, *, withheld: bool) -> Response:
    shown = {"items": items, "next": found.next, **({"withheld": NO_CONTENT} if withheld else {})}
    return Response(json_text.dumps(shown), media_type="application/json")


def _shown(tenant: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as lists have it."""
    decision = {name: value for name, value in record["decision"].items() if name != "evidence"}
    decision["candidates"] = [
        {name: value for name, value in one.items() if name != "evidence"}
        for one in decision["candidates"]
    ]
    kept = {name: value for name, value in record.items() if name != "asked_how"}
    return {"tenant": tenant, **kept, "decision": decision}


def _read(request: Request, known: Mapping[str, str]) -> tuple[Filters, int, str | None]:
    """Read filters, page size and cursor. Raises `BadRequest` naming the parameter."""
    given = lists.given(request, known)
    if "namespace" in given:
        checked_name("namespace", given["namespace"])
    if given.get("scope"):  # empty: of requests that similarity is not used for
        SCOPE.check("scope", given["scope"])
    if given.get("outcome", "miss") not in _OUTCOMES:
        raise BadRequest("outcome", f"must be one of {', '.join(_OUTCOMES)}")
    for name in ("reason", "veto", "model", "text"):
        if not 1 <= len(given.get(name, "x")) <= _MOST_TEXT:
            raise BadRequest(name, f"must have 1 to {_MOST_TEXT} characters")
    filters = Filters(
        namespace=given.get("namespace"),
        scope=given.get("scope"),
        outcome=given.get("outcome"),
        reason=given.get("reason"),
        veto=given.get("veto"),
        model=given.get("model"),
        text=given.get("text"),
        similarity=_range(given, "similarity"),
        probability=_range(given, "probability"),
        since=usage_parameters.time("from", given["from"]) if "from" in given else None,
        until=usage_parameters.time("to", given["to"]) if "to" in given else None,
    )
    return filters, *lists.page(given)


def _range(given: Mapping[str, str], name: str) -> Range:
    least, most = (_number(given, f"{name}_{end}") for end in ("min", "max"))
    if least is not None and most is not None and least > most:
        raise BadRequest(f"{name}_min", f"must not be above `{name}_max`")
    return Range(least, most)


def _number(given: Mapping[str, str], name: str) -> float | None:
    if name not in given:
        return None
    try:
        found = float(given[name])
    except ValueError:
        found = nan
    if not -1 <= found <= 1:
        raise BadRequest(name, "must be a number between -1 and 1")
    return found
