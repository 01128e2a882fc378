"""`/v1/jobs`: create, read, follow and cancel deferred questions."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from cacheserver.api import dependencies
from cacheserver.api.dependencies import Caller
from cacheserver.api.known_names import tenant_of
from cacheserver.api.resources.batches import batching_of
from cacheserver.api.resources.deferred import queue, read_later, show
from cacheserver.api.resources.entries.readable_texts import reads_job
from cacheserver.api.resources.query import QueryRequest, query_of, validated
from cacheserver.api.state import state_of
from cacheserver.batches.eligibility import Eligible
from cacheserver.batches.jobs import Job
from cacheserver.claude import sse
from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest, NotFound
from cacheserver.core.money import usd

router = APIRouter(tags=["jobs"])

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PING_S = 15.0  # proxies close what has been silent for a minute, some sooner


@router.post(
    "/v1/jobs",
    status_code=202,
    summary="Ask a question that may wait",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": QueryRequest.model_json_schema()}},
        }
    },
)
async def create(request: Request) -> Response:
    """Fields: those of `/v1/query`, and `when` (default `batch`), `deadline`, `webhook`."""
    state = state_of(request)
    caller = await state.gate.admit(request)
    fields = await state.object(request)
    if fields.get("when", "batch") is None or not fields.keys() & {"when", "deadline"}:
        fields = {**fields, "when": "batch"}
    later, rest = read_later(fields, state.parts.clock())
    if later is None:
        raise BadRequest("when", "must be `batch`, or give a `deadline`; `/v1/query` answers now")
    query = query_of(
        validated(rest),
        headers=request.headers,
        upstream_headers=dependencies.forwarded(request.headers),
        tenant=caller.tenant,
        parts=state.parts,
        credential=caller.credential,
        key_id=caller.key_id,
    )
    return await queue(request, caller, query, later)


@router.get("/v1/jobs/{id}", summary="How far a job or a batch is, and a question's answer")
async def get(request: Request, id: str) -> Response:
    caller = await state_of(request).gate.admit(request)
    return _json(await _shown(request, await _find(request, caller, id)))


@router.get("/v1/jobs/{id}/events", summary="The same as server-sent events, until its end")
async def events(request: Request, id: str) -> Response:
    """Stream a `progress` event for each item that ends, then `ended` with the job."""
    caller = await state_of(request).gate.admit(request)
    job = await _find(request, caller, id)
    return StreamingResponse(_events(request, caller, job), media_type=sse.MEDIA_TYPE)


@router.delete("/v1/jobs/{id}", summary="Cancel a job")
async def cancel(request: Request, id: str) -> Response:
    """Cancel a job. Answers that Claude has begun may still arrive."""
    caller = await state_of(request).gate.admit(request)
    job = await _find(request, caller, id)
    if not await batching_of(request).cancel(job):
        raise BadRequest("id", "this job cannot be cancelled: it has ended")
    return _json(await _shown(request, await _find(request, caller, id)))


@router.get("/v1/batch-eligible", summary="Your traffic that could have waited, for half the price")
async def eligible(request: Request) -> list[dict[str, Any]]:
    """List periodic traffic that could have been batched, as seen since this server's start."""
    state = state_of(request)
    caller = await state.gate.admit(request)
    found = batching_of(request).series.eligible(state.parts.clock(), caller.tenant.name)
    return [_row(each) for each in found]


@router.get(
    "/admin/v1/batch-eligible", tags=["admin"], summary="The same of all tenants, or of one"
)
async def eligible_of_all(request: Request, tenant: str | None = None) -> list[dict[str, Any]]:
    state = state_of(request)
    state.gate.admit_admin(request)
    if tenant is not None:
        await tenant_of(state, tenant)
    found = batching_of(request).series.eligible(state.parts.clock(), tenant)
    return [_row(each) for each in found]


async def _find(request: Request, caller: Caller, id: str) -> Job:
    job = None
    if _ID.fullmatch(id):
        job = await batching_of(request).jobs.get(caller.tenant.name, id)
    if job is None or not reads_job(caller, job.key_id):
        raise NotFound("no job of yours has this id, or its results are no longer kept")
    return job


async def _shown(request: Request, job: Job) -> dict[str, Any]:
    line = None
    if job.kind == "query" and job.status == "ended":
        (line,) = await batching_of(request).jobs.some(job.id, [0])
    return show(job, line)


async def _events(request: Request, caller: Caller, job: Job) -> AsyncIterator[bytes]:
    batching, clock = batching_of(request), state_of(request).parts.clock
    seen, sent_at = -1, clock()
    found: Job | None = job
    while found is not None and found.status != "ended":
        if found.done != seen:
            seen, sent_at = found.done, clock()
            yield sse.encode({"type": "progress", **show(found, None)})
        elif clock() - sent_at >= _PING_S:
            sent_at = clock()
            yield b": ping\n\n"
        await batching.changed()
        found = await batching.jobs.get(caller.tenant.name, job.id)
    if found is not None:  # else it was deleted meanwhile
        yield sse.encode({"type": "ended", **await _shown(request, found)})


def _row(found: Eligible) -> dict[str, Any]:
    return {
        **{k: v for k, v in asdict(found).items() if k not in ("cost", "saving")},
        "cost_usd": usd(found.cost),
        "saving_usd": usd(found.saving),
    }


def _json(value: Any) -> Response:
    return Response(json_text.dumps(value), media_type="application/json")
