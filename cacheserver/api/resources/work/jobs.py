"""`/admin/v1/jobs`: the jobs and batches of all tenants, without what they ask and answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request

from cacheserver.api.admin_act import note_change
from cacheserver.api.known_names import tenant_of
from cacheserver.api.resources.tuning import lists
from cacheserver.api.state import AppState, state_of
from cacheserver.batches.job_list import ListedJob
from cacheserver.core.errors import BadRequest, Conflict, NotFound
from cacheserver.core.money import usd

router = APIRouter(prefix="/admin/v1/jobs", tags=["admin"])

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_KINDS: Final = ("query", "batch")
_STATES: Final = ("in_progress", "canceling", "ended")
_KNOWN: Final[Mapping[str, str]] = {
    "tenant": "Its tenant; all of them if it is not given.",
    "kind": "`query`, a deferred question, or `batch`.",
    "status": f"One of {', '.join(_STATES)}.",
    **lists.PAGE,
}


@router.get("", summary="Jobs and batches of all tenants", openapi_extra=lists.described(_KNOWN))
async def jobs(request: Request) -> dict[str, Any]:
    """List jobs and batches, those whose results are kept longest first: of one tenant, the newest.

    `cost` is there for jobs of at most 20 items of which some have ended.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    given = lists.given(request, _KNOWN)
    for name, values in (("kind", _KINDS), ("status", _STATES)):
        if name in given and given[name] not in values:
            raise BadRequest(name, f"must be one of {', '.join(values)}")
    if "tenant" in given:
        await tenant_of(state, given["tenant"])
    limit, cursor = lists.page(given)
    found = await state.parts.job_list.page(
        tenant=given.get("tenant"),
        kind=given.get("kind"),
        status=given.get("status"),
        limit=limit,
        cursor=cursor,
    )
    return {"items": [_shown(job) for job in found.items], "next": found.next}


@router.get("/{tenant}/{id}", summary="A job, with what its ended items cost and saved")
async def job(request: Request, tenant: str, id: str) -> dict[str, Any]:
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    return _shown(await _find(state, tenant, id))


@router.delete("/{tenant}/{id}", summary="Cancel a job or a batch")
async def cancel(request: Request, tenant: str, id: str) -> dict[str, Any]:
    """Cancel it, as its tenant may. Answers that Claude has begun may still arrive."""
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    found = await _find(state, tenant, id)
    whole = await state.parts.batches.jobs.get(tenant, id)
    if whole is None or not await state.parts.batches.cancel(whole):
        raise Conflict("this job has ended, and cannot be cancelled")
    after = await _find(state, tenant, id)
    note_change(request, before=_status(found), after=_status(after))
    return _shown(after)


async def _find(state: AppState, tenant: str, id: str) -> ListedJob:
    await tenant_of(state, tenant)
    found = await state.parts.job_list.one(tenant, id) if _ID.fullmatch(id) else None
    if found is None:
        raise NotFound("this tenant has no such job, or its results are no longer kept")
    return found


def _status(job: ListedJob) -> dict[str, Any]:
    return {"status": job.fields["status"]}


def _shown(job: ListedJob) -> dict[str, Any]:
    cost = job.cost
    return {
        "id": job.id,
        **job.fields,
        "done": sum(job.fields["counts"].values()),
        "bytes": job.bytes,
        "expires_at": job.expires_at,
        "cost": None
        if cost is None
        else {
            "items": cost.items,
            "cost_usd": usd(cost.cost),
            "saved_usd": usd(cost.saved),
            "unpriced": cost.unpriced,
        },
    }
