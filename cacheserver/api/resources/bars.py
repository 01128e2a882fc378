"""A tenant's bars and what they decided, for the admin: shown, tried, set, explained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api import admin_act
from cacheserver.api.admin_act import Admin
from cacheserver.api.known_names import refuse_unknown_namespace, refuse_unknown_scopes, tenant_of
from cacheserver.api.state import AppState, state_of
from cacheserver.cache import controls
from cacheserver.calibration.what_if import PAGE
from cacheserver.core.errors import BadRequest, NotFound, Unknown
from cacheserver.core.rules.bounds import SCOPE
from cacheserver.core.types import Bar, Tenant
from cacheserver.tenants import tenant_json
from cacheserver.tenants.bar_history import Place

router = APIRouter()
changes = APIRouter()  # what they would have changed: `calibration`

_CHANGE_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
_FIELDS = frozenset({"level", "name", "bar", "who", "dry_run", "limit", "cursor"})
_UNDO_FIELDS = frozenset({"level", "name", "who"})
_PLACE = {
    "level": {"enum": ["tenant", "namespace", "scope"], "default": "tenant"},
    "name": {"type": "string", "description": "Of the namespace or scope."},
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["bar"],
                    "properties": {
                        **_PLACE,
                        "bar": {
                            "type": ["object", "null"],
                            "description": "null: as the level above; of a tenant, the server.",
                        },
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
                    "the server's default": {"value": {"bar": None}},
                },
            }
        },
    }
}
_UNDO_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {**_PLACE, "who": {"type": "string"}},
                },
                "examples": {
                    "the last change of all": {"value": {}},
                    "of a namespace": {"value": {"level": "namespace", "name": "help"}},
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
    """Set the bar of the tenant, a namespace or a scope; `bar` null removes one: the level above
    holds then, for the tenant the server's default.

    Fields: `level` (`tenant`, `namespace`, `scope`), `name` (of the namespace or scope), `bar`
    (`target` or `similarity` or `exact_only`; `top_k`, `vetoes_off`, `audit_share`), `who`, and
    `dry_run`: then nothing changes. The answer has the bars before and after; of a dry run, too,
    what would have become of the last day's decisions, the questions that would begin or end to be
    served (`limit` of them, 50 at most; `cursor` is the `next` of the page before), and how much
    of it labels say was wrong. What names a tenant, namespace, scope or veto that does not exist
    is a 400 that lists those that do.
    """
    state = state_of(request)
    admin = state.gate.admit_admin(request, "tune")
    fields = await state.object(request)
    if unknown := fields.keys() - _FIELDS:
        raise Unknown(min(unknown)[:64], "field", min(unknown), _FIELDS)
    if "bar" not in fields:
        raise BadRequest("bar", "is missing; null removes it")
    before = await _stored(state, name)
    after = _changed(before, fields, state.parts.tenants.fresh(name).bar)
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
    await state.parts.tenants.put(after, before=before, who=_who(fields, admin))
    admin_act.note_change(request, before=_bars(before), after=_bars(after))
    return change


@router.post(
    "/admin/v1/tenants/{name}/bars/undo",
    tags=["admin"],
    summary="Take back the last change of a bar",
    openapi_extra=_UNDO_BODY,
)
async def undo(request: Request, name: str) -> dict[str, Any]:
    """Set the bar that held before the last change; again, before the one before it.

    With `level` (and `name`), the last change there; else of all the tenant's bars. An undo is in
    the history, too, with the id of the change that it `undoes`. 404 if nothing is left to undo.
    """
    state = state_of(request)
    admin = state.gate.admit_admin(request, "tune")
    fields = await state.object(request)
    if unknown := fields.keys() - _UNDO_FIELDS:
        raise Unknown(min(unknown)[:64], "field", min(unknown), _UNDO_FIELDS)
    who, tenants = _who(fields, admin), state.parts.tenants
    before = await _stored(state, name)
    change = await tenants.bar_history.last(before.name, _place(fields))
    if change is None:
        raise NotFound("no change of a bar is left to undo here; the history lists all")
    place = {"level": change.level, "name": change.name or None, "bar": change.before}
    after = _changed(before, place, tenants.fresh(name).bar, there=False)
    await tenants.put(after, before=before, who=who, undoes=change)
    admin_act.note_change(request, before=_bars(before), after=_bars(after))
    return {"before": _bars(before), "after": _bars(after), "undone": asdict(change)}


@router.get(
    "/admin/v1/tenants/{name}/bars/history", tags=["admin"], summary="Who changed which bar"
)
async def history(
    request: Request, name: str, limit: int = 100, cursor: str | None = None
) -> dict[str, Any]:
    """Every change of a tenant's bars, by any route, newest first: `at`, `who`, `level`, `name`,
    the bar `before` and `after` (null: as the level above; of the tenant, the server's default),
    and `undoes`, the id of a change that was taken back. `cursor` is the `next` of the page before.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    if not 1 <= limit <= 200:
        raise BadRequest("limit", "must be 1 to 200")
    if cursor is not None and _CHANGE_ID.fullmatch(cursor) is None:
        raise BadRequest("cursor", "must be the `next` of the page before")
    tenant = await tenant_of(state, name)
    history = state.parts.tenants.bar_history
    found = await history.changes(tenant.name, limit + 1, before=cursor)
    page = found[:limit]
    return {
        "items": [asdict(change) for change in page],
        "next": page[-1].id if len(found) > limit else None,
    }


async def _stored(state: AppState, name: str) -> Tenant:
    """Return a tenant's settings as they are now: what another server set is not set again."""
    tenant = await tenant_of(state, name)
    return (await state.parts.tenants.stored(tenant.name)).tenant


def _who(fields: Mapping[str, Any], admin: Admin) -> str:
    who = fields.get("who", admin.name)
    if not isinstance(who, str):
        raise BadRequest("who", "must be a string")
    return who


def _place(fields: Mapping[str, Any]) -> Place | None:
    """Return the place whose change is to be undone; None: any. Raises `BadRequest`."""
    level, name = fields.get("level"), fields.get("name")
    match level:
        case None if name is None:
            return None
        case "tenant" if name is None:
            return Place("tenant")
        case "namespace":
            return Place("namespace", controls.name("name", name))
        case "scope":
            return Place("scope", SCOPE.check("name", name))
    raise BadRequest("level", "must be `tenant`, or `namespace` or `scope` with a `name`")


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


def _changed(
    tenant: Tenant, fields: Mapping[str, Any], default: Bar, *, there: bool = True
) -> Tenant:
    """Return the tenant with one bar set or removed. Raises `BadRequest` with the field.

    `there`: what is removed must be there.
    """
    level, at, bar = fields.get("level", "tenant"), fields.get("name"), fields.get("bar")
    match level:
        case "tenant":
            found = default if bar is None else tenant_json.read_bar("bar", bar)
            return replace(tenant, bar=found)
        case "namespace":
            name = controls.name("name", at)
            return replace(
                tenant, namespace_bars=_with(tenant.namespace_bars, level, name, bar, there=there)
            )
        case "scope":
            name = SCOPE.check("name", at)
            return replace(
                tenant, scope_bars=_with(tenant.scope_bars, level, name, bar, there=there)
            )
        case _:
            raise BadRequest("level", "must be `tenant`, `namespace` or `scope`")


def _with(
    bars: Mapping[str, Bar], level: str, at: str, given: object, *, there: bool
) -> dict[str, Bar]:
    """Return the bars of a level with one set, or removed if `given` is None."""
    if given is not None:
        return {**bars, at: tenant_json.read_bar("bar", given)}
    if there and at not in bars:
        raise Unknown("name", f"bar of a {level}", at, bars)
    return {name: bar for name, bar in bars.items() if name != at}


def _bars(tenant: Tenant) -> dict[str, Any]:
    shown = tenant_json.as_json(tenant)
    return {
        "tenant": shown["bar"],
        "namespaces": shown["namespace_bars"],
        "scopes": shown["scope_bars"],
    }
