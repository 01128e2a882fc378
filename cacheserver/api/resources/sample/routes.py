"""`/admin/v1/sample-traffic`: replay the sample, watch it, remove it."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request

from cacheserver.api.admin_act import note_change
from cacheserver.api.resources.sample.server import SampledServer
from cacheserver.api.resources.tenants import deletion
from cacheserver.api.state import AppState, state_of
from cacheserver.core.errors import Conflict
from cacheserver.sample_traffic.replay import Progress
from cacheserver.sample_traffic.traffic import TENANT

router = APIRouter(prefix="/admin/v1/sample-traffic", tags=["admin"])

_REAL: Final = (
    "sample traffic is for a server whose Claude is simulated: its money must not mix with yours. "
    "Start one with `CACHESERVER_UPSTREAM=simulated`, and a `CACHESERVER_DATA_DIR` and "
    "`CACHESERVER_PORT` of its own"
)
_TAKEN: Final = (
    f"there is a tenant `{TENANT}` that is not the sample's; the sample traffic is not mixed with "
    "it. Delete that tenant first, or use another data directory"
)


@router.get("", summary="How far the sample traffic is")
async def progress(request: Request) -> dict[str, Any]:
    """`state` is `none`, `running`, `done`, `stopped` or `failed`. `asked` counts requests, `of`
    how many there are, and `outcomes` the answers by the kind of their decision. `available` is
    false where Claude is real.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    return _shown(state, await state.parts.sample.progress())


@router.post("", status_code=202, summary="Replay sample traffic")
async def start(request: Request) -> dict[str, Any]:
    """Ask some 300 questions of a made-up shop as the tenant `sample`, so that every page has
    something to show within a minute. The simulated Claude answers them; a server whose Claude is
    real answers 409. While a replay runs, another request starts none. It takes no body.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    if not state.simulated:
        raise Conflict(_REAL)
    sample = state.parts.sample
    if (before := await sample.progress()).state == "none" or await _has_key(state):
        await _refuse_others(state)
    found = sample.start(SampledServer(state.parts))
    note_change(request, tenant=TENANT, before={"state": before.state}, after={"state": "running"})
    return _shown(state, found)


@router.delete("", summary="Stop the sample traffic and remove it")
async def remove(request: Request) -> dict[str, Any]:
    """Stop a replay, and delete the tenant `sample` with all that it has, as
    `DELETE /admin/v1/tenants/sample` does. Nothing happens if there was no sample traffic.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    sample = state.parts.sample
    if (before := await sample.progress()).state == "none":
        return {"removed": False, "deleted": None}
    if await _has_key(state):
        raise Conflict(_TAKEN)
    await sample.stop_everywhere()
    deleted = await deletion.delete(request, state, TENANT)
    await sample.forget()
    note_change(request, tenant=TENANT, before={"state": before.state}, after={"state": "none"})
    return {"removed": True, "deleted": deleted}


async def _refuse_others(state: AppState) -> None:
    """Raise `Conflict` if the tenant's name is in use for something else."""
    if TENANT in await state.parts.tenants.names():
        raise Conflict(_TAKEN)


async def _has_key(state: AppState) -> bool:
    return any(key.tenant == TENANT for key in await state.parts.tenants.list_keys())


def _shown(state: AppState, found: Progress) -> dict[str, Any]:
    return {"tenant": TENANT, "available": state.simulated, **found.as_json()}
