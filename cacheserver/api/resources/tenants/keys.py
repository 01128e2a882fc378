"""`/admin/v1/keys`: API keys of tenants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from cacheserver.api.admin_act import note_change
from cacheserver.api.json_body import json_body
from cacheserver.api.known_names import tenant_of
from cacheserver.api.state import AppState, state_of
from cacheserver.core.errors import BadRequest, Unknown
from cacheserver.tenants import key_times, tenant_json
from cacheserver.tenants.api_key import KEY_ROLES, ApiKey, KeyRole, shown

router = APIRouter(prefix="/admin/v1/keys", tags=["admin"])

_EXPIRES = {
    "type": ["string", "number", "null"],
    "description": "A span from now (`90d`, `12h`, seconds) or an ISO 8601 time; null: never.",
}
_LABEL = {"type": "string", "maxLength": 100}
_ROLE = {
    "enum": list(KEY_ROLES),
    "default": "ask",
    "description": "`write`: the key also stores answers of its own.",
}
_LIMITS = {
    name: {"type": ["integer", "null"], "minimum": 1}
    for name in ("requests_per_minute", "concurrent_misses", "tokens_per_minute")
}


@router.get("", summary="Keys, oldest first, without the keys themselves")
async def keys(
    request: Request,
    tenant: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str = "",
) -> dict[str, Any]:
    """A page of all keys, or of a tenant's. `last_used` is the last day (UTC) on which one was.

    `next` is the `cursor` of the next page, null on the last.
    """
    state = await _admitted(request)
    if tenant is not None:
        await tenant_of(state, tenant)
    found, after = await state.parts.tenants.key_page(tenant=tenant, after=cursor, limit=limit)
    return {"items": [shown(key) for key in found], "next": after}


@router.post(
    "",
    summary="Create a key; the answer is the only time it is shown",
    openapi_extra=json_body(
        {
            "tenant": {"type": "string"},
            "label": _LABEL,
            "expires": _EXPIRES,
            "limits": {"type": "object", "properties": _LIMITS},
            "role": _ROLE,
        },
        {"for 90 days": {"tenant": "shop", "label": "web site", "expires": "90d"}},
        required=("tenant",),
    ),
)
async def create_key(request: Request) -> dict[str, Any]:
    """Fields: `tenant`, `label`, `expires` (`90d` or an ISO 8601 time), `limits`, `role`."""
    state = await _admitted(request)
    fields = _only(await state.object(request), ("tenant", "label", "expires", "limits", "role"))
    for field in ("tenant", "label"):
        if not isinstance(fields.get(field, ""), str):
            raise BadRequest(field, "must be a string")
    key, plain = await state.parts.tenants.create_key(
        fields.get("tenant", ""),
        fields.get("label", ""),
        expires_at=_expiry(state, fields),
        limits=tenant_json.limits("limits", fields.get("limits", {})),
        role=_role(fields.get("role", "ask")),
    )
    note_change(request, tenant=key.tenant, after=_noted(key))
    return {**shown(key), "key": plain}


@router.put(
    "/{id}",
    summary="Change a key's label, or when it ends",
    openapi_extra=json_body(
        {"label": _LABEL, "expires": _EXPIRES}, {"it ends in 30 days": {"expires": "30d"}}
    ),
)
async def change_key(request: Request, id: str) -> dict[str, Any]:
    """Change the fields given; `expires` null lets the key live on.

    The previous key of a rotated one never outlives it. To end a key now, revoke it.
    """
    state = await _admitted(request)
    fields = _only(await state.object(request), ("label", "expires"))
    if not isinstance(fields.get("label", ""), str):
        raise BadRequest("label", "must be a string")
    before = await state.parts.tenants.find_key(id)
    changed = await state.parts.tenants.change_key(
        id,
        label=fields.get("label"),
        expires_at=_expiry(state, fields),
        expires="expires" in fields,
    )
    return _changed(request, before, changed)


@router.post(
    "/{id}/rotate",
    summary="Create a key in place of one, which is taken meanwhile",
    openapi_extra=json_body(
        {"overlap": {"type": ["string", "number"]}, "expires": _EXPIRES},
        {"a day to change over": {"overlap": "24h"}},
    ),
)
async def rotate_key(request: Request, id: str) -> dict[str, Any]:
    """Fields: `overlap` (`24h`, at most 30 days; 0: the old one ends now), `expires`."""
    state = await _admitted(request)
    fields = _only(await state.object(request), ("overlap", "expires"))
    overlap_s = key_times.seconds("overlap", fields.get("overlap", 0))
    before = await state.parts.tenants.find_key(id)
    key, plain = await state.parts.tenants.rotate_key(
        id, overlap_s=overlap_s, expires_at=_expiry(state, fields)
    )
    return {**_changed(request, before, key), "key": plain}


@router.put(
    "/{id}/limits",
    summary="Set how fast a key may ask",
    openapi_extra=json_body(_LIMITS, {"ten a second": {"requests_per_minute": 600}}),
)
async def limit_key(request: Request, id: str) -> dict[str, Any]:
    """Fields: `requests_per_minute`, `concurrent_misses`, `tokens_per_minute`; absent: no limit."""
    state = await _admitted(request)
    limits = tenant_json.limits("limits", await state.object(request))
    before = await state.parts.tenants.find_key(id)
    return _changed(request, before, await state.parts.tenants.limit_key(id, limits))


@router.delete("/{id}", summary="Revoke a key")
async def revoke_key(request: Request, id: str) -> dict[str, Any]:
    state = await _admitted(request)
    revoked = await state.parts.tenants.revoke_key(id)
    note_change(request, tenant=revoked.tenant, before=_noted(revoked))
    return shown(revoked)


async def _admitted(request: Request) -> AppState:
    state = state_of(request)
    state.gate.admit_admin(request)
    return state


def _changed(request: Request, before: ApiKey, after: ApiKey) -> dict[str, Any]:
    """Record a change of a key for the audit trail. Returns the key as it is shown."""
    note_change(request, tenant=after.tenant, before=_noted(before), after=_noted(after))
    return shown(after)


def _noted(key: ApiKey) -> dict[str, Any]:
    fields = shown(key)
    return {
        name: fields[name] for name in ("id", "label", "role", "expires_at", "limits", "created_at")
    }


def _only(fields: dict[str, Any], allowed: Sequence[str]) -> dict[str, Any]:
    for field in fields:
        if field not in allowed:
            raise Unknown(field[:64], "field", field, allowed)
    return fields


def _role(given: object) -> KeyRole:
    for role in KEY_ROLES:
        if role == given:
            return role
    raise BadRequest("role", f"must be {' or '.join(f'`{role}`' for role in KEY_ROLES)}")


def _expiry(state: AppState, fields: dict[str, Any]) -> float | None:
    expires = fields.get("expires")
    return None if expires is None else key_times.moment("expires", expires, state.parts.clock())
