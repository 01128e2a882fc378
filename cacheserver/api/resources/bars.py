"""A tenant's bars and what they decided, for the admin: shown, tried, set, explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.known_names import refuse_unknown_namespace, refuse_unknown_scopes, tenant_of
from cacheserver.api.state import state_of
from cacheserver.cache import controls
from cacheserver.calibration.what_if import PAGE
from cacheserver.core.errors import BadRequest, NotFound, Unknown
from cacheserver.core.rules.bounds import SCOPE
from cacheserver.core.types import Bar, Tenant
from cacheserver.tenants import tenant_json

router = APIRouter()
changes = APIRouter()  # with their record, and what they would have changed: `calibration`

_FIELDS = frozenset({"level", "name", "bar", "who", "dry_run", "limit", "cursor"})
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["bar"],
                    "properties": {
                        "level": {"enum": ["tenant", "namespace", "scope"], "default": "tenant"},
                        "name": {"type": "string", "description": "Of the namespace or scope."},
                        "bar": {"type": ["object", "null"], "description": "null removes one."},
                        "who": {"type": "string"},
                        "dry_run": {"type": "boolean", "default": False},
                        "limit": {"type": "integer", "minimum": 1, "maximum": PAGE},
                        "cursor": {"type": "string"},
                    },
                },
                "examples": {
                    "try a target": {"value": {"bar": {"target": 0.02}, "dry_run": True}},
                    "a threshold without one veto": {
                        "value": {"bar": {"similarity": 0.95, "vetoes_off": ["order"]}}
                    },
                },
            }
        },
    }
}


@router.get(
    "/admin/v1/tenants/{name}/decisions/{id}",
    tags=["admin"],
    summary="All of a decision, with the questions of its candidates",
)
async def decision(request: Request, name: str, id: str) -> dict[str, Any]:
    """A decision of a tenant's last day, as `GET /v1/decisions/{id}`, but with the texts of the
    stored questions that came near: its caller sees only the one that was served.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    tenant = await tenant_of(state, name)
    found = await state.parts.decision_log.decision(tenant.name, id)
    if found is None:
        raise NotFound("no decision of this tenant has this id, or it is more than a day old")
    return found


@router.get("/admin/v1/tenants/{name}/bars", tags=["admin"], summary="A tenant's bars")
async def bars(request: Request, name: str) -> dict[str, Any]:
    state = state_of(request)
    state.gate.admit_admin(request)
    return _bars(await tenant_of(state, name))


@changes.put(
    "/admin/v1/tenants/{name}/bars",
    tags=["admin"],
    summary="Set one bar, or try it dry",
    openapi_extra=_BODY,
)
async def set_bar(request: Request, name: str) -> dict[str, Any]:
    """Set the bar of the tenant, a namespace or a scope; `bar` null removes one.

    Fields: `level` (`tenant`, `namespace`, `scope`), `name` (of the namespace or scope), `bar`
    (`target` or `similarity` or `exact_only`; `top_k`, `vetoes_off`, `audit_share`), `who`, and
    `dry_run`: then nothing changes. The answer has the bars before and after; of a dry run, too,
    what would have become of the last day's decisions, the questions that would begin or end to be
    served (`limit` of them, 50 at most; `cursor` is the `next` of the page before), and how much
    of it labels say was wrong. What names a tenant, namespace, scope or veto that does not exist
    is a 400 that lists those that do.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    fields = await state.object(request)
    if unknown := fields.keys() - _FIELDS:
        raise Unknown(min(unknown)[:64], "field", min(unknown), _FIELDS)
    if "bar" not in fields:
        raise BadRequest("bar", "is missing; null removes the one of a namespace or scope")
    before = await tenant_of(state, name)
    after = _changed(before, fields)
    if fields.get("level") == "namespace":
        await refuse_unknown_namespace(state, before, fields["name"])
    await refuse_unknown_scopes(state, "name", before, after)
    dry = fields.get("dry_run", False)
    if not isinstance(dry, bool):
        raise BadRequest("dry_run", "must be true or false")
    limit, cursor = _page(fields, dry=dry)
    change = {"before": _bars(before), "after": _bars(after), "dry_run": dry}
    if dry:
        found = await state.parts.calibration.what_if.of(before, after, limit=limit, cursor=cursor)
        return {**change, "would_have": found}
    who = fields.get("who", "admin")
    if not isinstance(who, str):
        raise BadRequest("who", "must be a string")
    level, at = fields.get("level", "tenant"), fields.get("name") or ""
    # Recorded first: a change without a record would be worse than a record without its change.
    bars, now = state.parts.calibration.bars, state.parts.clock()
    await bars.set(name, level, at, fields.get("bar"), who=who, now=now)
    await state.parts.tenants.put(after)
    return change


@changes.get(
    "/admin/v1/tenants/{name}/bars/history", tags=["admin"], summary="Who changed which bar"
)
async def history(request: Request, name: str, limit: int = 100) -> list[dict[str, Any]]:
    state = state_of(request)
    state.gate.admit_admin(request)
    if not 1 <= limit <= 1_000:
        raise BadRequest("limit", "must be 1 to 1000")
    tenant = await tenant_of(state, name)
    found = await state.parts.calibration.bars.history(tenant.name, limit)
    return [asdict(change) for change in found]


def _page(fields: Mapping[str, Any], *, dry: bool) -> tuple[int, str | None]:
    """Return the page size and cursor of a dry run. Raises `BadRequest`."""
    for field in ("limit", "cursor"):
        if field in fields and not dry:
            raise BadRequest(field, "is of a dry run alone")
    limit, cursor = fields.get("limit", PAGE), fields.get("cursor")
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= PAGE:
        raise BadRequest("limit", f"must be 1 to {PAGE}")
    if cursor is not None and not isinstance(cursor, str):
        raise BadRequest("cursor", "must be the `next` of the page before")
    return limit, cursor


def _changed(tenant: Tenant, fields: dict[str, Any]) -> Tenant:
    """Return the tenant with one bar set or removed. Raises `BadRequest` with the field."""
    level, at, bar = fields.get("level", "tenant"), fields.get("name"), fields.get("bar")
    match level:
        case "tenant":
            if bar is None:
                raise BadRequest("bar", "a tenant always has one: give `exact_only` to close it")
            return replace(tenant, bar=tenant_json.read_bar("bar", bar))
        case "namespace":
            bars = _with(tenant.namespace_bars, level, controls.name("name", at), bar)
            return replace(tenant, namespace_bars=bars)
        case "scope":
            bars = _with(tenant.scope_bars, level, SCOPE.check("name", at), bar)
            return replace(tenant, scope_bars=bars)
        case _:
            raise BadRequest("level", "must be `tenant`, `namespace` or `scope`")


def _with(bars: Mapping[str, Bar], level: str, at: str, given: object) -> dict[str, Bar]:
    """Return the bars of a level with one set, or removed if `given` is None."""
    if given is not None:
        return {**bars, at: tenant_json.read_bar("bar", given)}
    if at not in bars:
        raise Unknown("name", f"bar of a {level}", at, bars)
    return {name: bar for name, bar in bars.items() if name != at}


def _bars(tenant: Tenant) -> dict[str, Any]:
    shown = tenant_json.as_json(tenant)
    return {
        "tenant": shown["bar"],
        "namespaces": shown["namespace_bars"],
        "scopes": shown["scope_bars"],
    }
