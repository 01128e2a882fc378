"""`/admin`: keys, tenants and statistics, live. Requires the admin key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.known_names import refuse_unknown_scopes, tenant_of
from cacheserver.api.resources import content_mode
from cacheserver.api.resources.alerts import refuse_closed_addresses
from cacheserver.api.resources.cache import shown_stats
from cacheserver.api.resources.erasure import shown_erasure
from cacheserver.api.state import AppState, state_of
from cacheserver.cache.controls import name as checked_name
from cacheserver.core.errors import BadRequest, KeyLost
from cacheserver.tenants import key_times, tenant_json
from cacheserver.tenants.api_keys import ApiKey

router = APIRouter(prefix="/admin/v1", tags=["admin"])


async def _admitted(request: Request) -> AppState:
    state = state_of(request)
    state.gate.admit_admin(request)
    return state


async def _body(request: Request, state: AppState) -> dict[str, Any]:
    return await state.object(request)


@router.get("/tenants", summary="Every tenant with settings or a key")
async def tenants(request: Request) -> list[dict[str, Any]]:
    state = await _admitted(request)
    found = await state.parts.tenants.list_tenants()
    return [{"name": tenant.name, **tenant_json.as_json(tenant)} for tenant in found]


@router.get("/tenants/{name}", summary="One tenant's settings")
async def tenant(request: Request, name: str) -> dict[str, Any]:
    state = await _admitted(request)
    found = await tenant_of(state, name)
    return {"name": found.name, **tenant_json.as_json(found)}


@router.put("/tenants/{name}", summary="Set a tenant's lifetimes, bars and rules")
async def put_tenant(request: Request, name: str) -> dict[str, Any]:
    """Change the given settings; the others stay as they are.

    Fields: `default_ttl_s`, `max_ttl_s`, `stale_s`, `ttl_rules` (list of `namespace`, `task`,
    `tag`, `default_ttl_s`, `max_ttl_s`), `bar` (`similarity`, `top_k`), `scope_bars` (scope to
    bar), `semantic`, `match_code`, `corroborate`, `actors` (`named`, `key`), `routing_epoch`,
    `no_content`. In force on every server within seconds.

    A change of `no_content` erases all that the tenant has, and is answered when that is done:
    `erased` says what went, and what cannot be reached.
    """
    state = await _admitted(request)
    fields = await _body(request, state)
    unknown = False
    try:
        base = await state.parts.tenants.settings(checked_name("tenant", name))
    except KeyLost as error:  # they can be put anew, and not changed
        if "no_content" not in fields:
            raise BadRequest(
                "no_content",
                "must be given: the tenant's settings cannot be read, so whether it keeps content "
                "is not known, and putting them anew erases what it has",
            ) from error
        base, unknown = state.parts.tenants.fresh(name), True
    changed = tenant_json.read(name, fields, base)
    await refuse_unknown_scopes(state, "scope_bars", base, changed)
    if (routing := state.parts.capabilities.routing) is not None:
        await routing.router.check(changed.routing, state.parts.clock())
    await refuse_closed_addresses(state.parts, changed)
    if unknown or changed.no_content != base.no_content:
        changed, erased = await content_mode.change(state, changed)
        return {"name": name, **tenant_json.as_json(changed), "erased": shown_erasure(erased)}
    await state.parts.tenants.put(changed)
    return {"name": name, **tenant_json.as_json(changed)}


@router.get("/keys", summary="Every key, without the key itself")
async def keys(request: Request) -> list[dict[str, Any]]:
    state = await _admitted(request)
    return [_key(key) for key in await state.parts.tenants.list_keys()]


@router.post("/keys", summary="Create a key; the answer is the only time it is shown")
async def create_key(request: Request) -> dict[str, Any]:
    """Fields: `tenant`, `label`, `expires` (`90d` or an ISO 8601 time), `limits`."""
    state = await _admitted(request)
    fields = _only(await _body(request, state), ("tenant", "label", "expires", "limits"))
    for field in ("tenant", "label"):
        if not isinstance(fields.get(field, ""), str):
            raise BadRequest(field, "must be a string")
    key, plain = await state.parts.tenants.create_key(
        fields.get("tenant", ""),
        fields.get("label", ""),
        expires_at=_expiry(state, fields),
        limits=tenant_json.limits("limits", fields.get("limits", {})),
    )
    return {**_key(key), "key": plain}


@router.post("/keys/{id}/rotate", summary="Create a key in place of one, which is taken meanwhile")
async def rotate_key(request: Request, id: str) -> dict[str, Any]:
    """Fields: `overlap` (`24h`, at most 30 days; 0: the old one ends now), `expires`."""
    state = await _admitted(request)
    fields = _only(await _body(request, state), ("overlap", "expires"))
    overlap_s = key_times.seconds("overlap", fields.get("overlap", 0))
    key, plain = await state.parts.tenants.rotate_key(
        id, overlap_s=overlap_s, expires_at=_expiry(state, fields)
    )
    return {**_key(key), "key": plain}


@router.put("/keys/{id}/limits", summary="Set how fast a key may ask")
async def limit_key(request: Request, id: str) -> dict[str, Any]:
    """Fields: `requests_per_minute`, `concurrent_misses`, `tokens_per_minute`; absent: no limit."""
    state = await _admitted(request)
    limits = tenant_json.limits("limits", await _body(request, state))
    return _key(await state.parts.tenants.limit_key(id, limits))


@router.delete("/keys/{id}", summary="Revoke a key")
async def revoke_key(request: Request, id: str) -> dict[str, Any]:
    state = await _admitted(request)
    return _key(await state.parts.tenants.revoke_key(id))


def _key(key: ApiKey) -> dict[str, Any]:
    shown = asdict(key)
    del shown["replaced"]  # it never is, of those that are shown
    return shown


def _only(fields: dict[str, Any], allowed: Sequence[str]) -> dict[str, Any]:
    for field in fields:
        if field not in allowed:
            listed = ", ".join(f"`{one}`" for one in allowed)
            raise BadRequest(field[:64], f"is not known here; {listed} are")
    return fields


def _expiry(state: AppState, fields: dict[str, Any]) -> float | None:
    expires = fields.get("expires")
    return None if expires is None else key_times.moment("expires", expires, state.parts.clock())


@router.get("/stats", summary="Counts and money of all tenants, or of one")
async def stats(request: Request, tenant: str | None = None) -> dict[str, Any]:
    state = await _admitted(request)
    if tenant is not None:
        await tenant_of(state, tenant)
    sums = await state.parts.decision_log.stats(tenant)
    index = state.parts.entries.index
    sizes = state.parts.sizes
    taken = await sizes.read()
    return {
        **shown_stats(sums),
        "indexed": len(index),
        "embedder": state.parts.reembedding.as_json(),
        "stored_bytes": taken["answers"],
        "store": {
            kind: {"bytes": size, "limit_bytes": sizes.limits[kind]} for kind, size in taken.items()
        },
    }
