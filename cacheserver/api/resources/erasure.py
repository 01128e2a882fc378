"""Erasure: every trace of content, by entry, tag, conversation, actor, namespace or tenant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.components import Components
from cacheserver.api.known_names import tenant_of
from cacheserver.api.state import state_of
from cacheserver.core.types import Tenant
from cacheserver.erasure import selectors
from cacheserver.erasure.erased import NOT_ERASED, Erased

router = APIRouter()

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "One of these; beside `conversation` its `namespace` may stand.",
                    "properties": {kind: {"type": "string"} for kind in selectors.KINDS},
                },
                "examples": {"a person": {"value": {"actor": "ann@example.com"}}},
            }
        },
    }
}


@router.post("/v1/erase", tags=["operations"], summary="Erase content", openapi_extra=_BODY)
async def erase(request: Request) -> dict[str, Any]:
    """Erase answers, questions and what was derived from them; the reply says what, and what not.

    Amounts of money stay, without names. `tenant` with your own name erases everything you have.
    """
    state = state_of(request)
    caller = await state.gate.admit(request)
    fields = await state.object(request)
    who = "key" if caller.key_id is None else f"key {caller.key_id}"
    return await erase_as(state.parts, caller.tenant, fields, who=who)


@router.post(
    "/admin/v1/tenants/{name}/erase", tags=["admin"], summary="The same", openapi_extra=_BODY
)
async def erase_of(request: Request, name: str) -> dict[str, Any]:
    """The same in the tenants inside it, of callers with Anthropic keys of their own: `callers` is
    their number. A tenant whose settings and keys were deleted can still be erased.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    tenant, fields = await tenant_of(state, name), await state.object(request)
    selectors.read(fields, tenant)
    inside = await state.parts.eraser.inside(tenant.name)
    erased = await erase_as(state.parts, tenant, fields, who="admin", inside=inside)
    return {**erased, "callers": len(inside)}


@router.get("/admin/v1/tenants/{name}/erasures", tags=["admin"], summary="The erasures that were")
async def erasures(request: Request, name: str) -> list[dict[str, Any]]:
    """List erasures, latest first: who, when and which kind of selector, never its value."""
    state = state_of(request)
    state.gate.admit_admin(request)
    return await state.parts.eraser.store.logged((await tenant_of(state, name)).name)


async def erase_as(
    parts: Components,
    tenant: Tenant,
    fields: Mapping[str, Any],
    *,
    who: str,
    inside: Sequence[str] = (),
) -> dict[str, Any]:
    """Erase what `fields` select of a tenant, and of those `inside` it.

    Raises `BadRequest`, `StoreError`.
    """
    selector = selectors.read(fields, tenant)
    announced = [await parts.eraser.announce(tenant.name, selector, who=who)]
    for name in inside:
        own = {**fields, **({"tenant": name} if "tenant" in fields else {})}
        selected = selectors.read(own, replace(tenant, name=name))
        announced.append(await parts.eraser.announce(name, selected, who=who))
    found = await parts.eraser.carry_out(*announced)
    for name in (tenant.name, *inside):
        parts.tenants.forget(name)  # of a whole tenant the keys went, of digests too
    return {"erased": selector.kind, **shown_erasure(found)}


def shown_erasure(found: Erased) -> dict[str, Any]:
    """Return what came of an erasure, and what it does not reach."""
    return {
        "removed": found.removed,
        "store_file": found.file,
        "index_snapshot": found.snapshot,
        "again_at": found.again_at,
        "keys": found.keys,
        "kept": NOT_ERASED,
        "not_reached": found.not_reached,
    }
