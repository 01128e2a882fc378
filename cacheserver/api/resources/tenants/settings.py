"""`/admin/v1/tenants`: settings of tenants, as differences from the server's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request

from cacheserver.api.admin_act import note_change
from cacheserver.api.dependencies import OPEN_TENANT
from cacheserver.api.json_body import json_body
from cacheserver.api.known_names import refuse_unknown_scopes, refuse_unknown_tenant
from cacheserver.api.resources.alerts import refuse_closed_addresses
from cacheserver.api.resources.erasure import shown_erasure
from cacheserver.api.resources.tenants import content_mode
from cacheserver.api.state import AppState, state_of
from cacheserver.cache.controls import name as checked_name
from cacheserver.core.errors import BadRequest, KeyLost, NotFound
from cacheserver.core.types import Tenant
from cacheserver.tenants import setting_tree, tenant_json
from cacheserver.tenants.admin_keys import Role
from cacheserver.tenants.tenant_json import Settings

router = APIRouter(prefix="/admin/v1/tenants", tags=["admin"])

_ADDRESSES: Final = frozenset({"webhook", "slack"})  # fields of `budgets.alerts`

_BODY = json_body(
    setting_tree.schema()["properties"],
    {
        "one budget; the others stay": {
            "budgets": {"daily": {"usd": 20}, "at_limit": "refuse"},
        },
        "back to the server's bar": {"bar": None},
        "a namespace's bar, and another's removed": {
            "namespace_bars": {"legal": {"exact_only": True}, "faq": None}
        },
    },
)


@router.get("", summary="Tenants with settings or a key, by name")
async def tenants(
    request: Request, limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: str = ""
) -> dict[str, Any]:
    """A page of tenants, with what each sets itself (`own`; null if it cannot be read), the number
    of its `keys` and the last day (UTC) on which one was used.

    `next` is the `cursor` of the next page, null on the last.
    """
    state = state_of(request)
    role = state.gate.admit_admin(request).role
    found, after = await state.parts.tenants.page(after=cursor, limit=limit)
    items = [
        {
            "name": one.name,
            "own": _shown_to(role, one.own),
            "keys": one.keys,
            "last_used": one.last_used,
        }
        for one in found
    ]
    return {"items": items, "next": after}


@router.get("/{name}", summary="A tenant's settings, and where each comes from")
async def tenant(request: Request, name: str) -> dict[str, Any]:
    """`settings` are in force; `own` are those that the tenant sets itself; `defaults` are the
    server's, to which null returns. `conflicts` names what of `own` contradicts a default that has
    changed since: it is not in force. Of the addresses of alerts a key with the role `read` sees
    the hosts alone: the path of a webhook may be a secret.
    """
    state = state_of(request)
    role = state.gate.admit_admin(request).role
    checked = checked_name("tenant", name)
    if checked not in {OPEN_TENANT, *await state.parts.tenants.names()}:
        await refuse_unknown_tenant(state, checked)
        raise NotFound(
            "this tenant has no settings and no key; it was deleted, or its last key was"
        )
    shown = _shown(state, checked, await state.parts.tenants.stored(checked))
    return {name: _shown_to(role, value) for name, value in shown.items()}


@router.put("/{name}", summary="Change a tenant's settings", openapi_extra=_BODY)
async def put_tenant(request: Request, name: str) -> dict[str, Any]:
    """Change what is named, at every depth; the rest stays as it is. All servers then have it.

    An object changes by the fields given; null returns a field to the server's default. A map of
    names changes by the names given; null removes one. Lists, and the bar of a namespace or scope,
    are replaced whole. The reply is that of `GET`.

    A change of `no_content` erases all that the tenant has, and is answered when that is done:
    `erased` says what went, and what cannot be reached.
    """
    state = state_of(request)
    who = state.gate.admit_admin(request).name
    fields = await state.object(request)
    tenants = state.parts.tenants
    try:
        stored = await tenants.stored(checked_name("tenant", name))
        before, own, unknown = stored.tenant, stored.own, False
    except KeyLost as error:  # they can be put anew, and not changed
        if "no_content" not in fields:
            raise BadRequest(
                "no_content",
                "must be given: the tenant's settings cannot be read, so whether it keeps content "
                "is not known, and putting them anew erases what it has",
            ) from error
        before, own, unknown = tenants.fresh(name), {}, True
    planned = await tenants.change(
        name, fields, check=lambda was, now: _check(state, was, now), anew=unknown, dry_run=True
    )
    if unknown or planned.tenant.no_content != before.no_content:
        changed, erased = await content_mode.change(state, name, fields, planned, anew=unknown)
        note_change(request, tenant=name, before=own, after=changed.own)
        return {**_shown(state, name, changed), "erased": shown_erasure(erased)}

    async def same_mode(was: Tenant, now: Tenant) -> None:
        if was.no_content != now.no_content:
            raise BadRequest("no_content", "was changed by another request; look, and send again")

    changed = await tenants.change(name, fields, check=same_mode, who=who)
    note_change(request, tenant=name, before=own, after=changed.own)
    return _shown(state, name, changed)


async def _check(state: AppState, before: Tenant, after: Tenant) -> None:
    """Raise `BadRequest` for settings that name what does not exist, or may not be reached."""
    await refuse_unknown_scopes(state, "scope_bars", before, after)
    if (routing := state.parts.capabilities.routing) is not None:
        await routing.router.check(after.routing, state.parts.clock())
    await refuse_closed_addresses(state.parts, after)
    named = after.compare_with
    if named is None or named == before.compare_with:
        return
    if state.parts.pricer.rates(named, state.parts.clock()) is None:
        raise BadRequest(
            "compare_with", f"no price of `{named}` is known; `GET /v1/prices` lists those that are"
        )


def _shown(state: AppState, name: str, found: Settings) -> dict[str, Any]:
    return {
        "name": name,
        "settings": tenant_json.as_json(found.tenant),
        "own": found.own,
        "defaults": tenant_json.as_json(state.parts.tenants.fresh(name)),
        "conflicts": found.conflicts,
    }


def _shown_to(role: Role, value: Any) -> Any:
    """Return settings as a role may see them: for `read` without the paths of webhooks."""
    if role != "read" or not isinstance(value, Mapping):
        return value
    return {
        name: _host(part) if name in _ADDRESSES and isinstance(part, str) else _shown_to(role, part)
        for name, part in value.items()
    }


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}/(not shown)"
