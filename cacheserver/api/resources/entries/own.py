"""`/v1/entries`: a tenant's own stored answers, read only."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.resources.entries import shown
from cacheserver.api.resources.entries.selection import (
    OwnEntries,
    parameters,
    read_query,
    withheld_of,
)
from cacheserver.api.state import state_of
from cacheserver.core.errors import NotFound

router = APIRouter(prefix="/v1/entries", tags=["operations"])


@router.get(
    "", summary="Your stored answers, the newest first", openapi_extra=parameters(OwnEntries)
)
async def entries(request: Request) -> dict[str, Any]:
    """List or search your stored answers. All conditions must hold; without any, all are listed.

    `next` is the `cursor` of the next page, null on the last. A search that finds little reads for
    half a second a page: a page may be empty although there is a next one.
    """
    state = state_of(request)
    caller = await state.gate.admit(request)
    asked = read_query(OwnEntries, request.query_params)
    found = await state.parts.entries.entries.search.page(
        asked.filter(caller.tenant.name, state.parts.clock()),
        limit=asked.limit,
        before=asked.before,
        withheld=withheld_of(state.parts),
    )
    return await shown.page(state, found)


@router.get("/{id}", summary="All of a stored answer of yours")
async def entry(request: Request, id: str) -> dict[str, Any]:
    """Show an entry with its whole message, as Claude sent it but for the message's id."""
    state = state_of(request)
    caller = await state.gate.admit(request)
    found = await state.parts.entries.entries.search.one(caller.tenant.name, id)
    if found is None:
        raise NotFound("no stored answer of yours has this id; it may have gone already")
    return await shown.whole(state, found)
