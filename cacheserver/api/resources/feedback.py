"""Feedback, for callers; shadow reports and labelled pairs, for the admin."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api import admin_act
from cacheserver.api.json_body import query_parameters
from cacheserver.api.known_names import refuse_unknown_scope, tenant_of
from cacheserver.api.state import AppState, state_of
from cacheserver.calibration.pairs import MAX_TAUGHT, Lesson, read_pairs
from cacheserver.core.errors import BadRequest, Unknown, Withheld
from cacheserver.core.rules.bounds import SCOPE

router = APIRouter()

_CALIBRATED = frozenset({"pairs", "tsv", "target", "teach"})
_TAUGHT = frozenset({"tenant", "scope", "confirm"})
_SHADOWED = frozenset({"target", "probability", "similarity"})
_FEEDBACK_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["verdict"],
                    "properties": {
                        "verdict": {"enum": ["good", "bad"]},
                        "decision_id": {"type": "string", "description": "`x-cache-decision`"},
                        "entry_id": {"type": "string", "description": "`x-cache-entry`"},
                    },
                },
                "examples": {
                    "a wrong hit": {"value": {"verdict": "bad", "decision_id": "dec_0a1b2c3d"}}
                },
            }
        },
    }
}


_CALIBRATE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "pairs": {"type": "array", "items": {"type": "object"}},
                        "tsv": {"type": "string", "description": "The same, as a table."},
                        "target": {"type": "number", "default": 0.01},
                        "teach": {
                            "type": "object",
                            "required": ["tenant", "scope"],
                            "properties": {
                                "tenant": {"type": "string"},
                                "scope": {"type": "string"},
                                "confirm": {"type": "boolean", "default": False},
                            },
                        },
                    },
                },
                "examples": {
                    "one pair": {
                        "value": {
                            "target": 0.05,
                            "pairs": [
                                {
                                    "query_a": "How do I cancel?",
                                    "query_b": "How can I cancel?",
                                    "label": 1,
                                }
                            ],
                        }
                    }
                },
            }
        },
    }
}


@router.post(
    "/v1/feedback",
    tags=["operations"],
    summary="Say that an answer was good or bad",
    openapi_extra=_FEEDBACK_BODY,
)
async def feedback(request: Request) -> dict[str, Any]:
    """A bad verdict counts at once: a similar question is never served that answer again and its
    bar rises; an answer that is bad in itself is forgotten. A good one waits for review.
    """
    state = state_of(request)
    caller = await state.gate.admit(request)
    fields = await state.object(request)
    return await state.parts.calibration.feedback.give(caller.tenant, fields)


@router.get(
    "/admin/v1/tenants/{name}/shadow",
    tags=["admin"],
    summary="What shadow mode saw",
    openapi_extra=query_parameters({name: {"type": "number"} for name in _SHADOWED}),
)
async def shadow(request: Request, name: str) -> dict[str, Any]:
    """Report which answers the last questions near a stored one would have got.

    With the share that was wrong (Wilson's 95% interval) and the saving, at several bars; with
    `probability` or `similarity`, at exactly that bar too.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    parameters = request.query_params
    if unknown := parameters.keys() - _SHADOWED:
        raise Unknown(min(unknown)[:64], "field", min(unknown), _SHADOWED)
    target = _share("target", parameters.get("target", "0.01"), most=0.5)
    at = {
        field: _share(field, parameters[field], most=1)
        for field in ("probability", "similarity")
        if field in parameters
    }
    tenant = await tenant_of(state, name)
    return await state.parts.calibration.pairs.shadow(tenant.name, target, at)


@router.post(
    "/admin/v1/calibrate",
    tags=["admin"],
    summary="The bar that labelled pairs ask for",
    openapi_extra=_CALIBRATE_BODY,
)
async def calibrate(request: Request) -> dict[str, Any]:
    """Compute precision and hit rate over labelled pairs, and recommend a bar for a target.

    Fields: `pairs` (objects with `query_a`, `query_b`, `label` 0 or 1) or `tsv` (the same columns,
    one header line), and `target` (0.01). Nothing changes: set the bar yourself. With `teach`
    (`tenant`, `scope`, `confirm`) a scope learns the pairs that no veto refuses, as an admin's
    labels; without `confirm` it is only said how many.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    fields = await state.object(request)
    if unknown := fields.keys() - _CALIBRATED:
        raise Unknown(min(unknown)[:64], "field", min(unknown), _CALIBRATED)
    target = _share("target", fields.get("target", 0.01), most=0.5)
    pairs = read_pairs(fields)
    lesson = await _lesson(state, fields["teach"], len(pairs)) if "teach" in fields else None
    if lesson is None or not lesson.confirm:
        admin_act.note_nothing(request)
    else:
        admin_act.note_change(request, tenant=lesson.tenant)
    return await state.parts.calibration.pairs.calibrate(pairs, target, lesson)


async def _lesson(state: AppState, given: object, pairs: int) -> Lesson:
    """Read what is to be taught. Raises `BadRequest` and `Withheld`."""
    if not isinstance(given, dict):
        raise BadRequest("teach", "must be an object with `tenant`, `scope` and `confirm`")
    if unknown := given.keys() - _TAUGHT:
        raise Unknown("teach", "field", str(min(unknown)), _TAUGHT)
    if not isinstance(confirm := given.get("confirm", False), bool):
        raise BadRequest("teach.confirm", "must be true or false")
    if pairs > MAX_TAUGHT:
        raise BadRequest("pairs", f"a scope learns at most {MAX_TAUGHT} at once")
    tenant = await tenant_of(state, given.get("tenant"))
    if tenant.no_content:
        raise Withheld(f"tenant {tenant.name} keeps no content: it learns from no pairs of texts")
    scope = SCOPE.check("teach.scope", given.get("scope"))
    await refuse_unknown_scope(state, "teach.scope", tenant, scope)
    return Lesson(tenant.name, scope, confirm)


def _share(field: str, value: object, *, most: float) -> float:
    """Return a number above 0 and at most `most`. Raises `BadRequest`."""
    try:
        share = float(value) if isinstance(value, str | int | float) else 0.0
    except (ValueError, OverflowError):
        share = 0.0
    if isinstance(value, bool) or not 0 < share <= most:
        raise BadRequest(field, f"must be above 0 to {most}")
    return share
