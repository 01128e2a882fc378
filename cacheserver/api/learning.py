"""Feedback, for callers; bars, tried and set, shadow reports and labelled pairs, for the admin."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api import errors, reviews
from cacheserver.api.edge import Edge, edge_of
from cacheserver.errors import BadRequest
from cacheserver.learning.pairs import read_pairs
from cacheserver.policy.controls import name as checked_name
from cacheserver.stores import tenantjson
from cacheserver.types import Tenant

router = APIRouter()
router.include_router(reviews.router)

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
    edge = edge_of(request)
    caller = await edge.gate.admit(request)
    fields = errors.parse(await errors.read_body(request, edge.max_body_bytes))
    return await edge.parts.feedback.give(caller.tenant.name, fields)


@router.get("/admin/tenants/{name}/bars", tags=["admin"], summary="A tenant's bars")
async def bars(request: Request, name: str) -> dict[str, Any]:
    edge = edge_of(request)
    edge.gate.admit_admin(request)
    return _bars(await edge.parts.tenants.get(checked_name("tenant", name)))


@router.put("/admin/tenants/{name}/bars", tags=["admin"], summary="Set one bar, or try it dry")
async def set_bar(request: Request, name: str) -> dict[str, Any]:
    """Set the bar of the tenant, a namespace or a scope; `bar` null removes one.

    Fields: `level` (`tenant`, `namespace`, `scope`), `name` (of the namespace or scope), `bar`
    (`target` or `similarity` or `exact_only`; `top_k`, `vetoes_off`, `audit_share`), `who`, and
    `dry_run`: then nothing changes. The answer has the bars before and after; of a dry run, too,
    what would have become of the last day's decisions, and how much of it labels say was wrong.
    """
    edge = edge_of(request)
    edge.gate.admit_admin(request)
    fields = errors.parse(await errors.read_body(request, edge.max_body_bytes))
    if unknown := fields.keys() - {"level", "name", "bar", "who", "dry_run"}:
        raise BadRequest(min(unknown)[:64], "is not known here")
    before = await edge.parts.tenants.get(checked_name("tenant", name))
    after = _changed(before, fields)
    await refuse_unknown_scopes(edge, before, after)
    dry = fields.get("dry_run", False)
    if not isinstance(dry, bool):
        raise BadRequest("dry_run", "must be true or false")
    change = {"before": _bars(before), "after": _bars(after), "dry_run": dry}
    if dry:
        return {**change, "would_have": await edge.parts.rehearsal.of(before, after)}
    who = fields.get("who", "admin")
    if not isinstance(who, str):
        raise BadRequest("who", "must be a string")
    level, at = fields.get("level", "tenant"), fields.get("name") or ""
    # Recorded first: a change without a record would be worse than a record without its change.
    await edge.parts.bars.set(name, level, at, fields.get("bar"), who=who, now=edge.parts.clock())
    await edge.parts.tenants.put(after)
    return change


@router.get("/admin/tenants/{name}/bars/history", tags=["admin"], summary="Who changed which bar")
async def history(request: Request, name: str, limit: int = 100) -> list[dict[str, Any]]:
    edge = edge_of(request)
    edge.gate.admit_admin(request)
    if not 1 <= limit <= 1_000:
        raise BadRequest("limit", "must be 1 to 1000")
    found = await edge.parts.bars.history(checked_name("tenant", name), limit)
    return [asdict(change) for change in found]


@router.get("/admin/tenants/{name}/shadow", tags=["admin"], summary="What shadow mode saw")
async def shadow(request: Request, name: str) -> dict[str, Any]:
    """Of the last questions that came near a stored one: what would have been served, how much of
    it was wrong (Wilson's 95% interval), what it would have saved, and the same at other bars; with
    `probability` or `similarity`, at exactly that bar too.
    """
    edge = edge_of(request)
    edge.gate.admit_admin(request)
    asked = request.query_params
    target = _share("target", asked.get("target", "0.01"), most=0.5)
    at = {
        field: _share(field, asked[field], most=1)
        for field in ("probability", "similarity")
        if field in asked
    }
    return await edge.parts.pairs.shadow(checked_name("tenant", name), target, at)


@router.post("/admin/calibrate", tags=["admin"], summary="The bar that labelled pairs ask for")
async def calibrate(request: Request) -> dict[str, Any]:
    """Precision against hit rate over labelled pairs, and the bar recommended for a target.

    Fields: `pairs` (objects with `query_a`, `query_b`, `label` 0 or 1) or `tsv` (the same columns,
    one header line), and `target` (0.01). Nothing changes: set the bar yourself.
    """
    edge = edge_of(request)
    edge.gate.admit_admin(request)
    fields = errors.parse(await errors.read_body(request, edge.max_body_bytes))
    if unknown := fields.keys() - {"pairs", "tsv", "target"}:
        raise BadRequest(min(unknown)[:64], "is not known here")
    target = _share("target", fields.get("target", 0.01), most=0.5)
    return await edge.parts.pairs.calibrate(read_pairs(fields), target)


async def refuse_unknown_scopes(edge: Edge, before: Tenant, after: Tenant) -> None:
    """Raise `BadRequest` where a bar is set in a scope that nothing was ever asked in.

    It would hold for nobody: most likely the id is of another tenant, or was cut.
    """
    if not edge.parts.entries.ready:
        return  # what was asked before the start is not known yet
    for scope in after.scope_bars.keys() - before.scope_bars.keys():
        asked = scope in edge.parts.entries.index.scopes()
        if not (asked or await edge.parts.rehearsal.knows(before, scope)):
            raise BadRequest(
                "name", "no question was asked in this scope; see a decision's `scope`"
            )


def _share(field: str, value: object, *, most: float) -> float:
    """A number above 0 to `most`. Raises `BadRequest`."""
    try:
        share = float(value) if isinstance(value, str | int | float) else 0.0
    except (ValueError, OverflowError):
        share = 0.0
    if isinstance(value, bool) or not 0 < share <= most:
        raise BadRequest(field, f"must be above 0 to {most}")
    return share


def _changed(tenant: Tenant, fields: dict[str, Any]) -> Tenant:
    """The tenant with one bar set or removed. Raises `BadRequest` naming the field."""
    level, at, bar = fields.get("level", "tenant"), fields.get("name"), fields.get("bar")
    match level:
        case "tenant":
            if bar is None:
                raise BadRequest("bar", "a tenant always has one: give `exact_only` to close it")
            return tenantjson.read(tenant.name, {"bar": bar}, tenant)
        case "namespace" | "scope":
            if not isinstance(at, str) or not at:
                raise BadRequest("name", f"must name the {level}")
            field = f"{level}_bars"
            kept = tenantjson.as_json(tenant)[field]
            kept.pop(at, None)
            if bar is not None:
                kept[at] = bar
            return tenantjson.read(tenant.name, {field: kept}, tenant)
        case _:
            raise BadRequest("level", "must be `tenant`, `namespace` or `scope`")


def _bars(tenant: Tenant) -> dict[str, Any]:
    shown = tenantjson.as_json(tenant)
    return {
        "tenant": shown["bar"],
        "namespaces": shown["namespace_bars"],
        "scopes": shown["scope_bars"],
    }
