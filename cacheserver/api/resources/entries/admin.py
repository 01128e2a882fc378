"""`/admin/v1/entries`: stored answers of all tenants, listed, read, evicted and pinned."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from cacheserver.api.admin_act import note_partly
from cacheserver.api.resources.entries import shown
from cacheserver.api.resources.entries.selection import (
    AllEntries,
    named_tenant,
    parameters,
    read_body,
    read_query,
    withheld_of,
)
from cacheserver.api.state import AppState, state_of
from cacheserver.cache import fingerprint
from cacheserver.cache.store.curated_entry import curated, other_shape
from cacheserver.cache.store.entry_search import FoundEntry
from cacheserver.cache.store.stored_entry import Replaced, stored_at
from cacheserver.cache.ttl import longest
from cacheserver.core import invisible_characters
from cacheserver.core.errors import BadRequest, NotFound
from cacheserver.core.rules.bounds import Bound
from cacheserver.core.types import MOST_TTL_S, Entry, Tenant
from cacheserver.transfer.planned import no_longer_imported

router = APIRouter(prefix="/admin/v1/entries", tags=["admin"])

_DAY_S = 86_400  # what was asked for two days ago is not stored: its purge is forgotten


@router.get("", summary="Stored answers, the newest first", openapi_extra=parameters(AllEntries))
async def entries(request: Request) -> dict[str, Any]:
    """List or search stored answers. All conditions must hold; without any, all are listed.

    Each item has the question, the beginning of the answer, its cost, and the hits it served with
    what they saved. `next` is the `cursor` of the next page, null on the last. A search that finds
    little reads for half a second a page: a page may be empty although there is a next one.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    if (tenant := request.query_params.get("tenant")) is not None:
        tenant = (await named_tenant(state, tenant)).name
    asked = read_query(AllEntries, request.query_params)
    found = await state.parts.entries.entries.search.page(
        asked.filter(tenant, state.parts.clock()),
        limit=asked.limit,
        before=asked.before,
        withheld=withheld_of(state.parts),
    )
    return await shown.page(state, found)


@router.get("/{tenant}/{id}", summary="All of a stored answer")
async def entry(request: Request, tenant: str, id: str) -> dict[str, Any]:
    """Show an entry with its whole message, as Claude sent it but for the message's id."""
    state = state_of(request)
    state.gate.admit_admin(request)
    found = await found_entry(state, tenant, id)
    return await shown.whole(state, found)


@router.delete("/{tenant}/{id}", summary="Evict a stored answer")
async def evict(request: Request, tenant: str, id: str) -> dict[str, Any]:
    """Remove an entry: from then on no server serves it. The next question like it is a miss."""
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    found = await found_entry(state, tenant, id)
    entry = found.entry
    await state.parts.entries.entries.purge_id(entry.tenant, entry.id)
    return {"tenant": entry.tenant, "entry_id": entry.id, "evicted": True}


class NewLifetime(BaseModel):
    """A new lifetime of an entry."""

    model_config = ConfigDict(extra="forbid")

    ttl_s: Annotated[int, Bound(least=1, most=MOST_TTL_S)] | Literal["longest"] = Field(
        description="Seconds from now until it expires; `longest`: as long as it may."
    )
    beyond_maximum: bool = Field(
        False, description="Go beyond the longest lifetime that the tenant's settings allow."
    )


_TTL_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": NewLifetime.model_json_schema(),
                "examples": {"a day from now": {"value": {"ttl_s": 86_400}}},
            }
        },
    }
}


@router.put("/{tenant}/{id}/ttl", summary="Set when an answer expires", openapi_extra=_TTL_BODY)
async def set_ttl(request: Request, tenant: str, id: str) -> dict[str, Any]:
    """Shorten or lengthen the life of an entry. Every server keeps to it at once.

    From its creation it may live as long as an answer like it that is stored now: the tenant's
    maximum, that of each TTL rule that matches, and the cap of a volatile question hold, unless
    `beyond_maximum` is true. Another server's index finds a
    lengthened entry by similarity only until the old deadline, or after that server's next start.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    found = await found_entry(state, tenant, id)
    asked = read_body(NewLifetime, await state.object(request))
    entry, settings = found.entry, await named_tenant(state, tenant)
    now = state.parts.clock()
    most_s = entry.created_at + _maximum(state, entry, settings) - now
    ttl_s = max(1, int(most_s)) if asked.ttl_s == "longest" else asked.ttl_s
    expires_at = now + ttl_s
    if not asked.beyond_maximum:
        _refuse_long(ttl_s, most_s)
    if expires_at > entry.expires_at:
        await state.parts.labels.outlive(entry.tenant, entry.id, expires_at + 1)
    changed = await state.parts.entries.set_deadline(
        entry.tenant, entry.id, expires_at, keep_s=settings.stale_s
    )
    if changed is None:
        raise _absent()
    if expires_at > entry.expires_at:  # once more: what was found wrong while the first one walked
        await state.parts.labels.outlive(entry.tenant, entry.id, expires_at + 1)
    return {"tenant": entry.tenant, "entry_id": entry.id, "expires_at": expires_at}


class NewAnswer(BaseModel):
    """An answer that an operator wrote."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Bound(least=1, most=100_000)] = Field(description="The answer.")
    ttl_s: Annotated[int, Bound(least=1, most=MOST_TTL_S)] | None = Field(
        None, description="Its lifetime; absent: that of the answer it replaces."
    )
    beyond_maximum: bool = Field(
        False, description="Go beyond the longest lifetime that the tenant's settings allow."
    )


_ANSWER_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": NewAnswer.model_json_schema(),
                "examples": {
                    "a text": {"value": {"text": "Orders are cancelled on the page `My orders`."}}
                },
            }
        },
    }
}


@router.put("/{tenant}/{id}/answer", summary="Replace an answer", openapi_extra=_ANSWER_BODY)
async def set_answer(request: Request, tenant: str, id: str) -> dict[str, Any]:
    """Replace the text of an entry by a curated answer, which is another entry with another id.

    The old one is evicted in the same step. The new one has its question, namespace and tags, is
    served as Claude's answers are, costs nothing and is pinned; nothing is learned from it. It is
    no import's: undoing the one that the old answer came with leaves it. In the place of JSON it
    must be JSON of that kind, an object with the same fields at least. It lives as long as the old
    one did unless `ttl_s` says otherwise. `replaced` is the old id.
    """
    state = state_of(request)
    admin = state.gate.admit_admin(request, "tune")
    old = (await found_entry(state, tenant, id)).entry
    asked = read_body(NewAnswer, await state.object(request))
    if invisible_characters.blank(asked.text):
        raise BadRequest("text", "must say something")
    _refuse_other_shape(old, asked.text)
    settings, now = await named_tenant(state, tenant), state.parts.clock()
    if asked.ttl_s is not None and not asked.beyond_maximum:
        _refuse_long(asked.ttl_s, _maximum(state, old, settings))
    ttl_s = asked.ttl_s or old.expires_at - old.created_at
    if not asked.beyond_maximum:
        ttl_s = min(ttl_s, _maximum(state, old, settings))
    entry = curated(no_longer_imported(old), asked.text, author=admin.name, now=now, ttl_s=ttl_s)
    # What the old answer was found wrong for: its question was another one.
    until = entry.expires_at + settings.stale_s + 1
    await state.parts.labels.tombstones.inherit(entry.tenant, {old.id: entry.id}, until)
    saved = state.parts.pricer.cost(entry.model, entry.usage, now)
    replaces = Replaced(old.id, saved or 0, pin=True)
    # Its question is as old as the old answer: an erasure that is under way covers it.
    asked_at = max(stored_at(old.id), now - _DAY_S)
    stored = await state.parts.entries.put(
        entry, keep_s=settings.stale_s, asked_at=asked_at, replaces=replaces
    )
    if not stored:
        raise NotFound("this answer was purged or replaced meanwhile, or the text is too large")
    note_partly(request)
    found = await found_entry(state, tenant, entry.id)
    return {**await shown.whole(state, found), "replaced": old.id}


@router.put("/{tenant}/{id}/pin", summary="Vouch for a stored answer")
async def pin(request: Request, tenant: str, id: str) -> dict[str, Any]:
    """A pinned answer serves every actor by similarity where the tenant asks for `corroborate`. The
    pin goes with the entry: a new answer to the same question has none.
    """
    return await _pin(request, tenant, id, pinned=True)


@router.delete("/{tenant}/{id}/pin", summary="Take that back")
async def unpin(request: Request, tenant: str, id: str) -> dict[str, Any]:
    """Remove a pin. An entry that a second actor's answer corroborated stays corroborated."""
    return await _pin(request, tenant, id, pinned=False)


async def _pin(request: Request, tenant: str, id: str, *, pinned: bool) -> dict[str, Any]:
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    name = (await named_tenant(state, tenant)).name
    entries = state.parts.entries.entries
    entry = await entries.by_id(name, id)
    if entry is None or not await entries.pin(entry, pinned=pinned):
        raise _absent()
    return {"tenant": name, "entry_id": id, "pinned": pinned}


async def found_entry(state: AppState, tenant: str, id: str) -> FoundEntry:
    """Return an entry of a tenant. Raises `BadRequest` and `NotFound`."""
    name = (await named_tenant(state, tenant)).name
    found = await state.parts.entries.entries.search.one(name, id)
    if found is None:
        raise _absent()
    return found


def _maximum(state: AppState, entry: Entry, tenant: Tenant) -> int:
    """Return the longest lifetime that a tenant's settings allow an entry."""
    texts = () if entry.text is None else (entry.text,)
    _, cap_s = fingerprint.volatility(texts, tenant, state.parts.language)
    return longest(entry, tenant, cap_s=cap_s)


def _refuse_long(ttl_s: int, most_s: float) -> None:
    if ttl_s > most_s:
        raise BadRequest(
            "ttl_s",
            f"is beyond the longest life that the tenant's settings allow this answer, "
            f"{max(0, int(most_s))} s from now; send `beyond_maximum` to go beyond it",
        )


def _refuse_other_shape(old: Entry, text: str) -> None:
    """Raise `BadRequest` for a text that programs cannot read which read the old answer.

    A request's schema and check are not stored; the answer that kept to them is.
    """
    if (missing := other_shape(old, text)) is not None:
        raise BadRequest("text", missing)


def _absent() -> NotFound:
    return NotFound("no stored answer of this tenant has this id; it may have gone already")
