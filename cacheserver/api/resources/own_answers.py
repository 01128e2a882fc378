"""`PUT /v1/entries`: an answer of the caller's own, stored in the place of Claude's.

Rule: who may put an answer is trusted by the whole tenant, as an operator who curates one: it needs
a key with the role `write`, or an admin's. A key stores for its own tenant alone.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from cacheserver.api import admin_act, dependencies
from cacheserver.api.body import parse, read_body
from cacheserver.api.components import Components
from cacheserver.api.dependencies import Caller
from cacheserver.api.resources.entries.selection import named_tenant
from cacheserver.api.resources.query import Asked, query_of, validated
from cacheserver.api.state import AppState, state_of
from cacheserver.cache.store.curated_entry import own
from cacheserver.cache.store.stored_entry import Replaced
from cacheserver.cache.ttl import lifetime
from cacheserver.core import invisible_characters
from cacheserver.core.errors import BadRequest, Conflict, Forbidden
from cacheserver.core.rules.bounds import Bound
from cacheserver.core.types import Entry, Query, Tenant
from cacheserver.routing import answer_checks
from cacheserver.transfer import plans

router = APIRouter(tags=["operations"])

KEYLESS = "no key"  # who put an answer while no key is needed
_TRIES = 3  # another application, or Claude, may store an answer to the question meanwhile


class OwnAnswer(Asked):
    """A question, and the answer to store for it."""

    answer: Annotated[str, Bound(least=1, most=100_000)] = Field(description="The answer's text.")
    tenant: str | None = Field(None, description="Whose it is; with an admin key, which must say.")


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": OwnAnswer.model_json_schema(),
                "examples": {
                    "a refund policy": {
                        "value": {
                            "prompt": "How long do refunds take?",
                            "answer": "Refunds take five working days.",
                            "tags": ["faq"],
                            "ttl_s": 86_400,
                        }
                    }
                },
            }
        },
    }
}


@router.put("/v1/entries", summary="Store an answer of your own", openapi_extra=_BODY)
async def put_entry(request: Request) -> dict[str, Any]:
    """Store an answer to a question, with the fields of `/v1/query` that shape one.

    Needs a key with the role `write`, or an admin key with `tune`, which names the `tenant`. From
    then on it is served as Claude's would be, marked `own`; it costs and saves nothing, and nothing
    is learned from it. It stands until it expires or another one is put. `unstored` says why
    nothing was stored.
    """
    state = state_of(request)
    admin = state.gate.admit_admin(request, "tune") if state.gate.is_admin(request) else None
    caller = None if admin is not None else await _writer(state, request)
    raw = await read_body(request, state.max_body_bytes)
    given = await state.heavy.do(len(raw), lambda: parse(raw))
    admin_act.note_body(request, given)
    valid = await state.heavy.do(len(raw), lambda: validated(given, OwnAnswer))
    tenant = await _whose(state, caller, valid["tenant"])

    def read() -> Query:
        return query_of(
            valid,
            headers=request.headers,
            upstream_headers=dependencies.forwarded(request.headers),
            tenant=tenant,
            parts=state.parts,
            credential=None if caller is None else caller.credential,
            key_id=None if caller is None else caller.key_id,
        )

    query = await state.heavy.do(len(raw), read)
    by = admin.name if admin is not None else query.key_id or KEYLESS
    admin_act.note_change(request, tenant=tenant.name)
    return await _put(state.parts, query, valid["answer"], by=by)


async def _writer(state: AppState, request: Request) -> Caller:
    """Admit a caller that may store answers. Raises `Forbidden` for another one."""
    caller = await state.gate.admit(request)
    if caller.role != "write":
        raise Forbidden(
            "this needs a key with the role `write`, which an operator creates with `cacheserver "
            "key create --role write`, or an admin key"
        )
    return caller


async def _whose(state: AppState, caller: Caller | None, name: object) -> Tenant:
    """Return the tenant that an answer is stored for. Raises `BadRequest`."""
    if caller is None:
        return await named_tenant(state, name)
    if name is not None:
        raise BadRequest("tenant", "is for admin keys: a key stores for its own tenant")
    return caller.tenant


async def _put(parts: Components, query: Query, text: str, *, by: str) -> dict[str, Any]:
    """Store an answer, or say why not. Raises `BadRequest`, `Conflict` and `StoreError`."""
    if invisible_characters.blank(text):
        raise BadRequest("answer", "must say something")
    now, ttl_s = parts.clock(), lifetime(query.controls, query.tenant, query.model)
    if query.ttl_cap_s is not None:
        ttl_s = min(ttl_s, query.ttl_cap_s)
    entry = own(query, text, by=by, now=now, ttl_s=ttl_s)
    _refuse_other_shape(query, text)
    if query.bypass is not None:
        return _shown(None, ttl_s=0, unstored="bypass")
    if ttl_s == 0:
        return _shown(None, ttl_s=0, unstored="ttl-0")
    worth = plans.worth(parts.pricer.cost, query, text, now)
    for _ in range(_TRIES):
        there = await parts.entries.get(query.fingerprint)
        # Another tenant's is a forged one, which gives way.
        old = None if there is None or there.tenant != entry.tenant else there
        if old is not None and old.origin == "curated" and old.expires_at > now:
            raise Conflict(
                "an operator has curated the answer to this question; it stands until it expires",
                {"x-should-retry": "false"},
            )
        if old is not None:  # what the old answer was found wrong for: its question was another
            until = entry.expires_at + query.tenant.stale_s + 1
            await parts.labels.tombstones.inherit(entry.tenant, {old.id: entry.id}, until)
        stored = await parts.entries.put(
            entry,
            keep_s=query.tenant.stale_s,
            asked_at=now,
            replaces=Replaced("" if there is None else there.id, worth),
        )
        if stored:
            return _shown(entry, ttl_s=ttl_s, replaced=None if old is None else old.id)
        after = await parts.entries.get(query.fingerprint)
        if (None if after is None else after.id) == (None if there is None else there.id):
            return _shown(None, ttl_s=0, unstored="refused")
    raise Conflict("others store answers to this question at the same moment; try again")


def _refuse_other_shape(query: Query, text: str) -> None:
    """Raise `BadRequest` for an answer that does not follow the question's schema."""
    check = answer_checks.requested_schema(query.body)
    message = {"stop_reason": "end_turn", "content": [{"type": "text", "text": text}]}
    if check is not None and (flaw := answer_checks.flaw(message, check)) is not None:
        raise BadRequest(
            "answer",
            "must be JSON, as `schema` asks" if flaw == "not-json" else "must follow `schema`",
        )


def _shown(
    entry: Entry | None, *, ttl_s: int, replaced: str | None = None, unstored: str | None = None
) -> dict[str, Any]:
    return {
        "entry_id": None if entry is None else entry.id,
        "origin": "own",
        "ttl_s": ttl_s or None,
        "expires_at": None if entry is None else entry.expires_at,
        "replaced": replaced,
        "unstored": unstored,
    }
