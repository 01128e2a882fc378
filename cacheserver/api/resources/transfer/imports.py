"""`/admin/v1/imports`: answers from elsewhere, in batches, undone by their import's id."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from cacheserver.api.admin_act import note_change, note_nothing, note_partly
from cacheserver.api.dependencies import forwarded
from cacheserver.api.known_names import tenant_of
from cacheserver.api.resources.entries.selection import read_body
from cacheserver.api.state import AppState, state_of
from cacheserver.cache.controls import MAX_TAGS, read_controls, tags
from cacheserver.core import json_text, names
from cacheserver.core.errors import BadRequest, Conflict, NotFound, Withheld
from cacheserver.core.keyed_digests import keyed
from cacheserver.core.rules.bounds import Bound
from cacheserver.core.types import MOST_TTL_S, Tenant
from cacheserver.transfer.exported import plan_item
from cacheserver.transfer.import_store import ID, ImportJob, ImportStore, new_import_id
from cacheserver.transfer.importer import Importer
from cacheserver.transfer.planned import Planned, PlannedLabel
from cacheserver.transfer.plans import Place, Sent, check_tags, plan_answer, plan_call, query_of
from cacheserver.transfer.records import Problem
from cacheserver.transfer.request_template import RequestTemplate, read_template

router = APIRouter(prefix="/admin/v1/imports", tags=["admin"])

MOST_RECORDS: Final = 1_000  # of a batch: two seconds of work, which a caller waits for
_SHOWN: Final = 100  # problems named in one answer; all are counted
_MOST_HEADERS: Final = 50


class Asked(BaseModel):
    """The request that the application sends."""

    model_config = ConfigDict(extra="forbid")

    request: dict[str, Any] | None = Field(
        None,
        description="The Messages body that your application sends. `{question}` in its last text "
        "is where the question goes; without it, the last text is the question. Without `messages` "
        "the question is all.",
    )
    headers: dict[str, str] | None = Field(
        None,
        description="Headers that it sends, of those that are part of a request's identity: "
        "`anthropic-*` and `x-cache-*`, such as `x-cache-namespace`.",
    )


class NewImport(Asked):
    """An import to begin."""

    tenant: str = Field(description="Whose answers these will be.")
    kind: Literal["answers", "calls", "export"] = Field(
        "answers",
        description="`answers`: questions with answers, all for one `request`. `calls`: each "
        "record has its own request and Claude's message. `export`: items of "
        "`/admin/v1/exports`, of a tenant of the same name.",
    )
    exported_from: str | None = Field(
        None, description="Of an `export`: the tenant that it is of, which must be `tenant`."
    )
    source: str = Field("", description="Where they come from, for people: a file's name.")
    tags: list[str] | None = Field(None, description=f"Of all entries; at most {MAX_TAGS - 1}.")
    ttl_s: Annotated[int, Bound(least=1, most=MOST_TTL_S)] | None = Field(
        None, description="Their lifetime; absent: as long as the tenant's settings allow."
    )
    curated: bool = Field(
        True,
        description="A person vouches for them: pinned, preferred to others that may be served as "
        "well, and in the place of what is stored. Else live answers are kept.",
    )
    replace: bool = Field(
        False,
        description="Curated answers take the place also of those that an operator curated by "
        "hand. Else such a record is a `conflict`, and named among the problems.",
    )


class Batch(Asked):
    """Records of an import, in order."""

    first: Annotated[int, Bound(least=0, most=2**53)] = Field(
        description="How many records of the import come before."
    )
    records: list[dict[str, Any]] = Field(
        description=f"At most {MOST_RECORDS}. Of `answers`: `question`, `answer` and, if you like, "
        "`tags`, `ttl_s` and `where`, which errors name. Of `calls`: `request`, `message`, `where`."
    )
    last: bool = Field(False, description="No others follow: the import is done.")


_REQUEST: Final = {
    "model": "claude-haiku-5-5",
    "max_tokens": 1024,
    "system": "You answer for the shop.",
}
_RECORD: Final = {"question": "How do I return an order?", "answer": "Within 30 days, by post."}


def _described(model: type[BaseModel], example: Mapping[str, Any]) -> dict[str, Any]:
    content = {"schema": model.model_json_schema(), "examples": {"a FAQ": {"value": example}}}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


@router.post(
    "",
    status_code=201,
    summary="Begin an import",
    openapi_extra=_described(
        NewImport, {"tenant": "shop", "source": "faq.csv", "request": _REQUEST}
    ),
)
async def begin(request: Request) -> Response:
    """Begin an import of answers, which come in batches then.

    An answer is found by the requests that are equal to `request` but for their question: model,
    system prompt, `max_tokens` and all else. `known` says whether such a request was ever answered
    here; if your application is in use already, `false` means that it sends another one.
    """
    state = state_of(request)
    admin = state.gate.admit_admin(request, "tune")
    asked = read_body(NewImport, await state.object(request))
    tenant = await tenant_of(state, asked.tenant)
    if asked.kind == "export":
        _refuse_other(asked, tenant)
    elif asked.replace and not asked.curated:
        raise BadRequest("replace", "is for curated answers: others take no one's place")
    given = tags("tags", asked.tags or [])
    check_tags(given)
    if len(given) == MAX_TAGS:
        raise BadRequest("tags", f"at most {MAX_TAGS - 1}: the import adds its own")
    template, sent = _template(asked, asked.kind), _sent(asked)
    known: bool | None = None
    place, digest = _place(state, tenant), ""
    if template is not None:
        query = query_of(place, template.asking("?"), sent)
        if query.bypass is not None:
            raise BadRequest("request", f"is not answered from the cache: {query.bypass}")
        digest = keyed(tenant, query.fingerprint)
        if query.scope and state.parts.entries.ready:
            known = await state.parts.entries.has_questions(tenant.name, query.scope)
    job = ImportJob(
        id=new_import_id(),
        tenant=tenant.name,
        kind=asked.kind,
        source=names.read("source", asked.source, most=200, least=0),
        who=admin.name,
        created_at=state.parts.clock(),
        template=digest,
        tags=given,
        ttl_s=asked.ttl_s,
        pinned=asked.curated,
        replaces=asked.replace,
    )
    await _store(state).begin(job)
    note_change(request, tenant=tenant.name, after={"id": job.id, "source": job.source})
    return Response(
        json_text.dumps({**_shown(job), "known": known}),
        status_code=201,
        media_type="application/json",
        headers={"location": f"/admin/v1/imports/{job.tenant}/{job.id}"},
    )


@router.post(
    "/{tenant}/{id}/records",
    summary="Import a batch of records",
    openapi_extra=_described(
        Batch, {"first": 0, "request": _REQUEST, "records": [_RECORD], "last": True}
    ),
)
async def records(request: Request, tenant: str, id: str) -> dict[str, Any]:
    """Store a batch. `request` and `headers` are as the import began with: nothing of them is kept.

    `first` must be the import's `done`, or the batch was taken before, which is no error: after a
    lost connection send it again, or go on from `done`. `problems` names records that were not
    stored and why, the first 100 of a batch; all others of it are stored.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    asked = read_body(Batch, await state.object(request))
    if len(asked.records) > MOST_RECORDS:
        raise BadRequest("records", f"at most {MOST_RECORDS} in a batch, not {len(asked.records)}")
    settings = await tenant_of(state, tenant)
    job = await _find(state, settings.name, id)
    if not asked.last:
        note_nothing(request)  # the trail has when an import began, ended and was undone
    if job.state == "undone":
        raise Conflict("this import was undone; begin another one")
    ends = asked.first + len(asked.records)
    if ends < job.done or (ends == job.done and (asked.records or job.state != "open")):
        return {**_shown(job), "batch": None, "problems": []}
    if asked.first != job.done or job.state != "open":
        raise Conflict(f"this import has {job.done} records and is {job.state}; go on from there")
    template, sent, place = _template(asked, job.kind), _sent(asked), _place(state, settings)
    if template is not None:
        same = keyed(settings, query_of(place, template.asking("?"), sent).fingerprint)
        if same != job.template:
            raise BadRequest("request", "must be the request that this import began with")

    def plan() -> Sequence[Planned | PlannedLabel | Problem]:
        if job.kind == "export":
            return [plan_item(place, job, one) for one in asked.records]
        if template is None:
            return [plan_call(place, job, sent, one) for one in asked.records]
        return [plan_answer(place, job, template, sent, one) for one in asked.records]

    planned = await asyncio.to_thread(plan)
    note_partly(request)
    outcome = await _importer(state).store(job, settings, planned)
    store = _store(state)
    await store.advance(job, len(asked.records), outcome.counts, last=asked.last)
    job = await _find(state, settings.name, id)
    if job.state == "undone":  # while this batch was under way: its labels have no purge marker
        await _importer(state).undo(job)
        raise Conflict("this import was undone; begin another one")
    if asked.last:
        note_change(request, tenant=settings.name, after={"id": id, **job.counts})
    return {
        **_shown(job),
        "batch": dict(outcome.counts),
        "problems": [asdict(one) for one in outcome.problems[:_SHOWN]],
    }


@router.get("/{tenant}", summary="Imports of a tenant, newest first")
async def imports(request: Request, tenant: str) -> dict[str, Any]:
    """List the imports of the last 90 days, with what became of their records."""
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    name = (await tenant_of(state, tenant)).name
    return {"items": [_shown(job) for job in await _store(state).list(name)]}


@router.get("/{tenant}/{id}", summary="An import")
async def one(request: Request, tenant: str, id: str) -> dict[str, Any]:
    """Show an import. `done` is the number of records it has, from the first on."""
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    return _shown(await _find(state, (await tenant_of(state, tenant)).name, id))


@router.delete("/{tenant}/{id}", summary="Undo an import")
async def undo(request: Request, tenant: str, id: str) -> dict[str, Any]:
    """Remove all that an import stored and that is still there, a batch under way included.

    What it replaced does not come back: the next question like it is a miss.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    name = (await tenant_of(state, tenant)).name
    job = await _find(state, name, id)
    await _store(state).set_state(name, id, "undone")  # first: no batch begins after it
    removed = await _importer(state).undo(job)
    note_change(request, tenant=name, before={"state": job.state}, after={"state": "undone"})
    return {"id": id, "tenant": name, "undone": True, "removed": removed}


def _importer(state: AppState) -> Importer:
    return Importer(state.parts.entries, state.parts.labels, clock=state.parts.clock)


def _store(state: AppState) -> ImportStore:
    store = state.parts.host.store
    return ImportStore(store.redis, prefix=store.prefix)


async def _find(state: AppState, tenant: str, id: str) -> ImportJob:
    job = await _store(state).get(tenant, id) if ID.fullmatch(id) else None
    if job is None:
        raise NotFound("no import of this tenant has this id; they are kept for 90 days")
    return job


def _template(asked: Asked, kind: str) -> RequestTemplate | None:
    if kind != "answers":
        if asked.request is not None:
            raise BadRequest("request", "is for `answers`; others have their own")
        return None
    if asked.request is None:
        raise BadRequest("request", "is required: the Messages body that your application sends")
    return read_template(asked.request)


def _refuse_other(asked: NewImport, tenant: Tenant) -> None:
    """Raise `BadRequest` for an export of another tenant: its answers are no one else's."""
    if asked.exported_from != tenant.name:
        raise BadRequest(
            "exported_from",
            f"must be `{tenant.name}`, the tenant that imports: what was stored for another one is "
            "found by its requests alone. Import questions and answers, with a `request`, instead",
        )
    if tenant.no_content:
        raise Withheld("this tenant keeps no content, so an export of it has none")


def _sent(asked: Asked) -> Sent:
    given = {name.lower(): value for name, value in (asked.headers or {}).items()}
    if len(given) > _MOST_HEADERS:
        raise BadRequest("headers", f"at most {_MOST_HEADERS}")
    controls = read_controls(given)
    if controls.declared is not None or not (controls.read and controls.store):
        raise BadRequest("headers", "must not declare a question, nor forbid storing")
    return Sent(forwarded(given), controls)


def _place(state: AppState, tenant: Tenant) -> Place:
    parts = state.parts
    return Place(
        tenant=tenant,
        upstream=parts.upstream.identity,
        language=parts.language,
        price=parts.pricer.cost,
        now=parts.clock(),
    )


def _shown(job: ImportJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "tenant": job.tenant,
        "kind": job.kind,
        "source": job.source,
        "state": job.state,
        "done": job.done,
        "counts": dict(job.counts),
        "tag": job.tag,
        "tags": list(job.tags),
        "ttl_s": job.ttl_s,
        "curated": job.pinned,
        "replace": job.replaces,
        "by": job.who,
        "created_at": job.created_at,
    }
