"""`/admin/v1/conversations`: the named conversations of all tenants, without their turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request

from cacheserver.api.known_names import tenant_of
from cacheserver.api.resources.tuning import lists
from cacheserver.api.state import AppState, state_of
from cacheserver.conversations.conversation_list import ListedConversation
from cacheserver.core.errors import Unavailable
from cacheserver.core.keyed_digests import NO_CONTENT

router = APIRouter(prefix="/admin/v1/conversations", tags=["admin"])

_KNOWN: Final[Mapping[str, str]] = {
    "tenant": "Its tenant; all of them if it is not given.",
    **lists.PAGE,
}


@router.get("", summary="Conversations of all tenants", openapi_extra=lists.described(_KNOWN))
async def conversations(request: Request) -> dict[str, Any]:
    """List conversations in no particular order: names, number of turns, bytes and times.

    Names are the callers' own words: those of a tenant without content are null. `mark` is the
    digest that decisions have.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    given = lists.given(request, _KNOWN)
    tenant = given.get("tenant")
    if tenant is not None:
        await tenant_of(state, tenant)
    limit, cursor = lists.page(given)
    found = await state.parts.conversations.listed.page(tenant=tenant, limit=limit, cursor=cursor)
    return {"items": [await _shown(state, one) for one in found.items], "next": found.next}


async def _shown(state: AppState, one: ListedConversation) -> dict[str, Any]:
    try:
        tenant = await state.parts.tenants.settings(one.tenant)
        withheld, remembered_s = tenant.no_content, tenant.history.remember_s
    except Unavailable:  # its settings cannot be read: it may keep no content
        withheld, remembered_s = True, None
    now = state.parts.clock()
    return {
        "tenant": one.tenant,
        "namespace": one.namespace,
        "name": None if withheld else one.name,
        "mark": one.mark,
        "turns": one.turns,
        "bytes": one.bytes,
        # Its life begins anew with each turn.
        "last_at": None
        if remembered_s is None
        else round(now + one.expires_in_s - remembered_s, 3),
        "expires_at": round(now + one.expires_in_s, 3),
        **({"withheld": NO_CONTENT} if withheld else {}),
    }
