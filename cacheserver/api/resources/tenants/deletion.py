"""Deletion of a tenant: its keys, all that it has, and its settings, in this order.

Rule: settings go last. Until nothing is left of a tenant they say what may be stored and shown of
it. Each step can be taken again, so a deletion that was interrupted is sent once more.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request

from cacheserver.api.admin_act import note_change, note_partly
from cacheserver.api.json_body import json_body
from cacheserver.api.known_names import refuse_unknown_tenant
from cacheserver.api.resources.erasure import shown_erasure
from cacheserver.api.resources.tenants.content_mode import erase_after
from cacheserver.api.state import AppState, state_of
from cacheserver.cache.controls import name as checked_name
from cacheserver.core.errors import BadRequest, Conflict, Unknown
from cacheserver.erasure.erased import SETTINGS_KEPT

router = APIRouter(prefix="/admin/v1/tenants", tags=["admin"])

_ROUNDS: Final = 3  # of the batch worker, to end what has not gone to Claude
_BODY = json_body(
    {"confirm": {"type": "string", "description": "The tenant's name."}},
    {"the tenant shop": {"confirm": "shop"}},
    required=("confirm",),
)


@router.delete("/{name}", summary="Delete a tenant and all that it has", openapi_extra=_BODY)
async def delete_tenant(request: Request, name: str) -> dict[str, Any]:
    """Revoke the tenant's keys, cancel its jobs, erase its content and remove its settings.

    `confirm` must be the tenant's name. Amounts of money stay, so that sums still agree with
    invoices. A job that Claude is at is a 409: the keys are revoked by then; send it again once
    the job has ended.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    fields = await state.object(request)
    if unknown := fields.keys() - {"confirm"}:
        raise Unknown(min(unknown)[:64], "field", min(unknown), ("confirm",))
    await refuse_unknown_tenant(state, checked_name("tenant", name))
    if fields.get("confirm") != name:
        raise BadRequest("confirm", "must be the name of the tenant that is deleted")
    return await delete(request, state, name)


async def delete(request: Request, state: AppState, name: str) -> dict[str, Any]:
    """Delete a tenant for an admin's request. Returns what went.

    Raises `Conflict` if Claude is at one of its jobs, and `StoreError`.
    """
    tenants = state.parts.tenants
    revoked = await tenants.revoke_keys(name)
    note_change(request, tenant=name, before={"keys": [key.id for key in revoked]}, after={})
    note_partly(request)
    for one in (name, *await state.parts.eraser.inside(name)):
        await _end_jobs(state, one)

    async def keys_again() -> None:  # made meanwhile
        revoked.extend(await tenants.revoke_keys(name))

    _, erased = await erase_after(state, name, keys_again, who="deletion")
    removed = await tenants.remove(name)
    note_change(request, tenant=name, before={"keys": [key.id for key in revoked]}, after={})
    shown = shown_erasure(erased)
    shown["kept"] = [kept for kept in shown["kept"] if kept != SETTINGS_KEPT]
    return {
        "name": name,
        "revoked_keys": [key.id for key in revoked],
        "settings_removed": removed,
        "erased": shown,
    }


async def _end_jobs(state: AppState, tenant: str) -> None:
    """Cancel a tenant's jobs. Raises `Conflict` if Claude has some of them."""
    batches = state.parts.capabilities.batches
    if batches is None:
        return
    for _ in range(_ROUNDS):
        jobs = await batches.jobs.under_way(tenant)
        if not jobs:
            return
        for job in jobs:
            if job.status != "canceling":
                await batches.cancel(job)
        await batches.changed()
    if left := len(await batches.jobs.under_way(tenant)):
        raise Conflict(
            f"{left} jobs of this tenant are with Claude and have been cancelled; its keys are "
            "revoked. Send this again when they have ended"
        )
