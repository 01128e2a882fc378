"""`/v1/messages/batches`: the Message Batches API, drop-in, each item through the cache.

Rule: a key sees its own batches only, or its tenant's where keys read all; another's is a 404. What
a batch holds is never modelled beyond its custom ids: params reach Claude as they came.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cacheserver.api import dependencies, errors
from cacheserver.api.body import MAX_BATCH_VALUES
from cacheserver.api.dependencies import Caller
from cacheserver.api.plain_route import PlainRoute
from cacheserver.api.resources.entries.readable_texts import reads_job
from cacheserver.api.state import AppState, state_of
from cacheserver.batches import schedule as policy
from cacheserver.batches.jobs import Job, new_id
from cacheserver.batches.scheduler import BatchScheduler
from cacheserver.cache.controls import read_controls
from cacheserver.cache.declared import declarations
from cacheserver.claude.upstream import Call
from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest, NotFound, UpstreamError

WEBHOOK = "x-cache-webhook"

_BATCHES = "/v1/messages/batches"
_BODY_FACTOR = 8  # of the largest body: Anthropic's own limits are 256 MB to 32 MB
_LARGE = 1_000_000  # bytes; parsing more takes milliseconds, which others need not wait for
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_JSONL = "application/x-jsonl"


def batching_of(request: Request) -> BatchScheduler:
    """Return the scheduler. Raises `SwitchedOff` if batches are switched off."""
    return state_of(request).parts.batches


async def create(request: Request) -> Response:
    """Take a batch. Its items are looked up in the background."""
    state, caller = await _admitted(request)
    raw = await errors.read_body(request, state.max_body_bytes * _BODY_FACTOR)
    webhook = request.headers.get(WEBHOOK)
    if caller.credential is not None:
        if webhook is not None:
            raise BadRequest(WEBHOOK, "is for batches of the server's key; yours is passed on")
        return await _passed_on(request, state, caller, raw)
    batching, rules = batching_of(request), caller.tenant.batching
    controls = read_controls(request.headers, also=frozenset({WEBHOOK}))
    if controls.declared is not None:
        message = "stands for one request; in a batch, mark each item's body (`cache_question`)"
        raise BadRequest(declarations.first_given(controls.declared), message)
    if len(raw) > _LARGE:
        items = await asyncio.to_thread(_items, raw)
    else:
        items = _items(raw)
    if webhook is not None:
        webhook = await batching.webhooks.check(webhook, rules, field=WEBHOOK)
    job = Job(
        id=new_id("batch"),
        kind="batch",
        tenant=caller.tenant.name,
        created_at=0,
        total=0,
        key_id=caller.key_id,
        headers=dependencies.forwarded(request.headers),
        controls=controls,
        webhook=webhook,
    )
    await batching.afford(job, caller.tenant)
    return _shown(await batching.take(job, items, keep_s=rules.keep_s))


async def list_all(request: Request) -> Response:
    """List the caller's batches, newest first, by pages."""
    state, caller = await _admitted(request)
    if caller.credential is not None:
        return await _passed_on(request, state, caller)
    jobs, tenant = batching_of(request).jobs, caller.tenant.name
    ids = await jobs.batches(tenant, whose=partial(reads_job, caller))
    page, more = _page(ids, request.query_params)
    found: list[dict[str, Any]] = []
    for id in page:
        if (job := await jobs.get(tenant, id)) is not None:  # else it has expired meanwhile
            found.append(show(job))
    listing = {
        "data": found,
        "has_more": more,
        "first_id": found[0]["id"] if found else None,
        "last_id": found[-1]["id"] if found else None,
    }
    return _json(listing)


async def retrieve(request: Request) -> Response:
    state, caller = await _admitted(request)
    if caller.credential is not None:
        return await _passed_on(request, state, caller)
    return _shown(await _find(request, caller))


async def cancel(request: Request) -> Response:
    """Cancel a batch. The answers that Claude has given by then are kept."""
    state, caller = await _admitted(request)
    if caller.credential is not None:
        return await _passed_on(request, state, caller)
    job = await _find(request, caller)
    if not await batching_of(request).cancel(job):
        raise BadRequest("id", f"batch {job.id} cannot be canceled: its processing has ended")
    return _shown(await _find(request, caller))


async def delete(request: Request) -> Response:
    state, caller = await _admitted(request)
    if caller.credential is not None:
        return await _passed_on(request, state, caller)
    job = await _find(request, caller)
    if not await batching_of(request).jobs.delete(job.tenant, job.id):
        raise BadRequest("id", f"batch {job.id} cannot be deleted while it is being processed")
    return _json({"id": job.id, "type": "message_batch_deleted"})


async def results(request: Request) -> Response:
    """Stream the results, one line each, in constant memory and in any order."""
    state, caller = await _admitted(request)
    if caller.credential is not None:
        return await _passed_on_lines(request, state, caller)
    job = await _find(request, caller)
    if job.status != "ended":
        raise NotFound(f"batch {job.id} has no results yet")
    jobs = batching_of(request).jobs

    async def lines() -> Any:
        async for line in jobs.lines(job):
            yield line + b"\n"

    return StreamingResponse(lines(), media_type=_JSONL)


def show(job: Job) -> dict[str, Any]:
    """Build Anthropic's batch object; before its end all items count as `processing`."""
    ended = job.status == "ended"
    counts = dict(job.counts or {}) if ended else {}
    kinds = ("succeeded", "errored", "canceled", "expired")
    return {
        "id": job.id,
        "type": "message_batch",
        "processing_status": job.status,
        "request_counts": {
            "processing": 0 if ended else job.total,
            **{kind: counts.get(kind, 0) for kind in kinds},
        },
        "created_at": _rfc3339(job.created_at),
        "expires_at": _rfc3339(job.created_at + policy.EXPIRES_S),
        "ended_at": _rfc3339(job.ended_at),
        "cancel_initiated_at": _rfc3339(job.cancel_at),
        "archived_at": None,
        # Relative: an address of Anthropic's would have the SDK send our key there.
        "results_url": f"{_BATCHES}/{job.id}/results" if ended else None,
    }


async def _admitted(request: Request) -> tuple[AppState, Caller]:
    state = state_of(request)
    return state, await state.gate.admit(request)


async def _find(request: Request, caller: Caller) -> Job:
    id = request.path_params["id"]
    job = None
    if _ID.fullmatch(id):
        job = await batching_of(request).jobs.get(caller.tenant.name, id)
    if job is None or job.kind != "batch" or not reads_job(caller, job.key_id):
        raise NotFound(f"batch {id[:64]!r} was not found")
    return job


def _items(raw: bytes) -> list[tuple[str, bytes]]:
    requests = policy.read_requests(errors.parse(raw, most=MAX_BATCH_VALUES))
    return [(custom_id, json_text.dumps(params)) for custom_id, params in requests]


def _page(ids: list[str], parameters: Mapping[str, str]) -> tuple[list[str], bool]:
    text = parameters.get("limit", "20")
    most = int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0
    if not 1 <= most <= 1_000:
        raise BadRequest("limit", "Input should be between 1 and 1000")
    for name in ("after_id", "before_id"):
        if name in parameters and parameters[name] not in ids:
            raise BadRequest(name, "names no batch of yours")
    if "before_id" in parameters:
        earlier = ids[: ids.index(parameters["before_id"])]
        return earlier[-most:], len(earlier) > most
    later = ids[ids.index(parameters["after_id"]) + 1 :] if "after_id" in parameters else ids
    return later[:most], len(later) > most


async def _passed_on(
    request: Request, state: AppState, caller: Caller, raw: bytes = b""
) -> Response:
    """A caller's own key: the batch is theirs at Anthropic's, and no secret of theirs is kept.

    The address of the results is made ours, or the SDK would leave us out to fetch them.
    """
    path = _own_path(request)
    call = _call(request, caller, raw)
    reply = await state.parts.upstream.forward(request.method, path, request.url.query, call)
    headers = {**reply.headers, "x-cache": "bypass", "x-cache-reason": "own-key"}
    return Response(_rewritten(reply.body), status_code=reply.status, headers=headers)


async def _passed_on_lines(request: Request, state: AppState, caller: Caller) -> Response:
    call = _call(request, caller, b"")
    lines = state.parts.upstream.batch_lines(_own_path(request).split("/")[4], call)
    first = await anext(lines, None)  # errors come before it, and become responses

    async def relayed() -> Any:
        try:
            if first is not None:
                yield first + b"\n"
            async for line in lines:
                yield line + b"\n"
        except UpstreamError:
            return  # begun: the connection ends, and with it the body, short of its end
        finally:
            await lines.aclose()

    headers = {"x-cache": "bypass", "x-cache-reason": "own-key"}
    return StreamingResponse(relayed(), media_type=_JSONL, headers=headers)


def _call(request: Request, caller: Caller, raw: bytes) -> Call:
    headers = dependencies.forwarded(request.headers)
    return Call(raw, headers, caller.credential, tenant=caller.tenant.name)


def _own_path(request: Request) -> str:
    id = request.path_params.get("id")
    if id is not None and not _ID.fullmatch(id):
        raise NotFound("no batch has such an id")
    return request.url.path


def _rewritten(body: bytes) -> bytes:
    try:
        found = json_text.loads(body)
    except ValueError:
        return body
    batches = found.get("data") if isinstance(found, dict) and "data" in found else [found]
    changed = False
    for batch in batches if isinstance(batches, list) else ():
        if isinstance(batch, dict) and batch.get("results_url"):
            batch["results_url"] = f"{_BATCHES}/{batch.get('id')}/results"
            changed = True
    return json_text.dumps(found) if changed else body


def _shown(job: Job) -> Response:
    return _json(show(job))


def _json(value: Any) -> Response:
    return Response(json_text.dumps(value), media_type="application/json")


def _rfc3339(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()


_ONE = f"{_BATCHES}/{{id}}"
ROUTES = (
    PlainRoute(_BATCHES, create, "POST"),
    PlainRoute(_BATCHES, list_all, "GET"),
    PlainRoute(_ONE, retrieve, "GET"),
    PlainRoute(_ONE, delete, "DELETE"),
    PlainRoute(f"{_ONE}/cancel", cancel, "POST"),
    PlainRoute(f"{_ONE}/results", results, "GET"),
)
