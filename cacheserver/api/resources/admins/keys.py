"""Named admin keys."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api import admin_act
from cacheserver.api.json_body import json_body
from cacheserver.api.state import state_of
from cacheserver.core.errors import Unknown
from cacheserver.tenants import key_times
from cacheserver.tenants.admin_keys import ROLES

router = APIRouter(prefix="/admin/v1", tags=["admin"])

_FIELDS = frozenset({"name", "role", "expires"})
_BODY = json_body(
    {
        "name": {"type": "string", "minLength": 1, "maxLength": 100},
        "role": {"enum": list(ROLES)},
        "expires": {
            "type": ["string", "number", "null"],
            "description": "`90d`, seconds, or an ISO 8601 time.",
        },
    },
    {
        "a dashboard": {"name": "grafana", "role": "read"},
        "a person": {"name": "ann", "role": "tune", "expires": "90d"},
    },
    required=("name", "role"),
)


@router.get("/admin-keys", summary="Every named admin key, without the key itself")
async def admin_keys(request: Request) -> dict[str, Any]:
    """List the keys, oldest first: name, role, creation, expiry and last use. One whose record
    cannot be read is `damaged`: it opens nothing, and can be revoked. There are 100 at most, so
    `next` is null. The key that `CACHESERVER_ADMIN_KEY` sets is not among them: it is
    called `admin` and has the role `all`.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    return {"items": [asdict(key) for key in await state.admins.keys.list()], "next": None}


@router.post("/admin-keys", summary="Create a named admin key", openapi_extra=_BODY)
async def create_admin_key(request: Request) -> dict[str, Any]:
    """The answer is the only time the key is shown. A key with the role `read` sees everything and
    changes nothing; `tune` also changes bars, labels, entries and alerts; `all` also tenants, keys,
    settings and prices, and erases.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "all")
    fields = await state.object(request)
    if unknown := fields.keys() - _FIELDS:
        raise Unknown(min(unknown)[:64], "field", min(unknown), _FIELDS)
    expires = fields.get("expires")
    key, plain = await state.admins.keys.create(
        fields.get("name", ""),
        fields.get("role", ""),
        expires_at=None
        if expires is None
        else key_times.moment("expires", expires, state.parts.clock()),
    )
    shown = asdict(key)
    admin_act.note_change(request, after={n: shown[n] for n in ("id", "name", "role")})
    return {**shown, "key": plain}


@router.delete("/admin-keys/{id}", summary="Revoke a named admin key")
async def revoke_admin_key(request: Request, id: str) -> dict[str, Any]:
    """No server accepts the key after 3 seconds."""
    state = state_of(request)
    state.gate.admit_admin(request, "all")
    key = asdict(await state.admins.keys.revoke(id))
    admin_act.note_change(request, before={n: key[n] for n in ("id", "name", "role")})
    return key
