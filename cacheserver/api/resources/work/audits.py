"""`/admin/v1/audits`: what uploaded logs would have saved, as jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from cacheserver.api.admin_act import note_change
from cacheserver.api.known_names import tenant_of
from cacheserver.api.resources import usage_parameters
from cacheserver.api.resources.tuning import lists
from cacheserver.api.state import AppState, state_of
from cacheserver.audit_jobs.job import AuditJob, AuditOptions
from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest, Encoded, NotFound, Withheld
from cacheserver.core.types import Usage

router = APIRouter(prefix="/admin/v1/audits", tags=["admin"])

_ID: Final = re.compile(r"audit_[0-9a-f]{24}")
_CURSOR: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?):(audit_[0-9a-f]{24})")
_YEAR_S: Final = 31_536_000
_MOST_USD: Final = 1_000_000

_OPTIONS: Final[Mapping[str, str]] = {
    "name": "The log's file name; reports name lines by it.",
    "tenant": "A tenant whose error target and lifetime are taken, where none are given.",
    "target": "Highest share of wrong semantic hits, above 0 and at most 0.5 (0.01).",
    "ttl_s": "Lifetime of an answer in seconds (3600).",
    "since": "Only requests from this time on: Unix seconds or ISO 8601; else the last 30 days.",
    "until": "Only requests before this time.",
    "one_tenant": "`true`: all users in the log share answers.",
    "wrong_hit_usd": "What a wrong answer costs, subtracted from the savings (0).",
    "verify_model": "The verifying model of the estimate; it needs a price.",
}
_UPLOAD: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": name == "name",
            "description": told,
            "schema": {"type": "string"},
        }
        for name, told in _OPTIONS.items()
    ],
    "requestBody": {
        "required": True,
        "description": "The log: JSON lines, one JSON document or CSV, plain or gzipped.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
}
# The report's own page: text, styles and drawings. In a sandbox it could run no script either.
_PAGE_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; sandbox",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


@router.post("", status_code=202, summary="Audit an uploaded log", openapi_extra=_UPLOAD)
async def create(request: Request) -> Response:
    """Take a log and queue its audit, which estimates what the cache would have saved.

    The body is the file itself, of at most `CACHESERVER_MAX_AUDIT_BYTES`. It is deleted as soon as
    the audit has ended. Audits run one at a time, in a process of the lowest priority.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    given = lists.given(request, _OPTIONS)
    options = await _options(state, given)
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):  # gzip stays as it is: it is read so
        raise Encoded("send the log plain or gzipped", headers={"accept-encoding": "gzip"})
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() and len(announced) < 20 else 0
    job = await state.parts.audit_jobs.take(
        given.get("name", ""), options, request.stream(), announced=size
    )
    note_change(request, tenant=options.tenant, after={"id": job.id, "bytes": job.bytes})
    return Response(
        json_text.dumps(_shown(state, job)),
        status_code=202,
        media_type="application/json",
        headers={"location": f"/admin/v1/audits/{job.id}"},
    )


@router.get("", summary="Audits, newest first", openapi_extra=lists.described(lists.PAGE))
async def audits(request: Request) -> dict[str, Any]:
    """List the audits of this server with their state, progress and summary."""
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    await state.parts.audit_jobs.ready()
    limit, cursor = lists.page(lists.given(request, lists.PAGE))
    found, last = state.parts.audit_jobs.page(limit=limit, after=_place(cursor))
    after = None if last is None else f"{last.created_at!r}:{last.id}"
    return {"items": [_shown(state, job) for job in found], "next": after}


@router.get("/{id}", summary="An audit, and its report once there is one")
async def audit(request: Request, id: str) -> Response:
    """Show an audit. `report` is what `cacheserver audit --json` prints; null without one."""
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    job = await _find(state, id)
    report = await state.parts.audit_jobs.report(job)
    shown = {**_shown(state, job), "report": report}
    return Response(json_text.dumps(shown), media_type="application/json")


@router.get("/{id}/page", summary="The report as an HTML page")
async def page(request: Request, id: str) -> Response:
    """Return the page that `cacheserver audit --html` writes: no script, no other host."""
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    found = await state.parts.audit_jobs.html(await _find(state, id))
    if found is None:
        raise NotFound("this audit has no report: it has not ended, or it failed")
    return Response(found, media_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)


@router.delete("/{id}", summary="Stop an audit, and delete it with its report")
async def delete(request: Request, id: str) -> dict[str, Any]:
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    await _find(state, id)
    job = await state.parts.audit_jobs.delete(id)
    if job is None:
        raise NotFound(_NONE)
    note_change(request, before={"state": job.state}, after={"state": None})
    return {"id": id, "deleted": True, "was": job.state}


_NONE: Final = "there is no such audit, or it is no longer kept"


async def _find(state: AppState, id: str) -> AuditJob:
    await state.parts.audit_jobs.ready()
    job = state.parts.audit_jobs.get(id) if _ID.fullmatch(id) else None
    if job is None:
        raise NotFound(_NONE)
    return job


def _shown(state: AppState, job: AuditJob) -> dict[str, Any]:
    progress = job.progress
    return {
        "id": job.id,
        "name": job.name,
        "bytes": job.bytes,
        "state": job.state,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "expires_at": state.parts.audit_jobs.expires_at(job),
        "options": asdict(job.options),
        "progress": None
        if progress is None
        else {**asdict(progress), "per_second": progress.per_second, "left_s": progress.left_s},
        "error": job.error,
        "summary": job.summary,
    }


async def _options(state: AppState, given: Mapping[str, str]) -> AuditOptions:
    """Read the options of an audit. Raises `BadRequest` that names one, `Withheld`."""
    target, ttl_s = 0.01, 3_600
    if (name := given.get("tenant")) is not None:
        tenant = await tenant_of(state, name)
        if tenant.no_content:
            raise Withheld(
                "this tenant keeps no content here, and its logs hold it; run `cacheserver audit` "
                "where they are"
            )
        target, ttl_s = tenant.bar.target or target, tenant.default_ttl_s
    target = _number(given, "target", target, most=0.5)
    if target == 0:
        raise BadRequest("target", "must be above 0")
    since, until = (
        usage_parameters.time(one, given[one]) if one in given else None
        for one in ("since", "until")
    )
    if since is not None and until is not None and since >= until:
        raise BadRequest("since", "must be before `until`")
    if given.get("one_tenant", "false") not in ("true", "false"):
        raise BadRequest("one_tenant", "must be `true` or `false`")
    ttl = _number(given, "ttl_s", ttl_s, most=_YEAR_S)
    if ttl != int(ttl):
        raise BadRequest("ttl_s", "must be whole seconds")
    model = given.get("verify_model")
    if model is not None and not _priced(state, model):
        raise BadRequest("verify_model", "has no price; see `CACHESERVER_PRICES`")
    return AuditOptions(
        target=target,
        ttl_s=int(ttl),
        since=since,
        until=until,
        one_tenant=given.get("one_tenant") == "true",
        wrong_hit_usd=_number(given, "wrong_hit_usd", 0.0, most=_MOST_USD),
        verify_model=model,
        tenant=name,
    )


def _priced(state: AppState, model: str) -> bool:
    if not 1 <= len(model) <= 128 or model.startswith("-"):
        return False
    return state.parts.pricer.cost(model, Usage(1_000, 1), state.parts.clock()) is not None


def _number(given: Mapping[str, str], name: str, default: float, *, most: float) -> float:
    if name not in given:
        return default
    try:
        found = float(given[name])
    except ValueError:
        found = -1.0
    if not (isfinite(found) and 0 <= found <= most):
        raise BadRequest(name, f"must be a number, 0 to {most:,}")
    return found


def _place(cursor: str | None) -> tuple[float, str] | None:
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise BadRequest("cursor", "must be the `next` of the page before")
    return float(found[1]), found[2]
