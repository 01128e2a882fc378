"""`GET /v1/entries`: a tenant's own stored answers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.resources.entries import shown
from cacheserver.api.resources.entries.readable_texts import reads_all
from cacheserver.api.resources.entries.selection import (
    OwnEntries,
    parameters,
    read_query,
    withheld_of,
)
from cacheserver.api.state import state_of
from cacheserver.core.errors import BadRequest, NotFound

router = APIRouter(prefix="/v1/entries", tags=["operations"])


@router.get(
    "", summary="Your stored answers, the newest first", openapi_extra=parameters(OwnEntries)
)
async def entries(request: Request) -> dict[str, Any]:
    """List or search your stored answers. All conditions must hold; without any, all are listed.

    Questions and answers are null, and `text` is refused, unless the tenant's setting
    `keys_read_content` is on: another key of the tenant may have asked.

    `next` is the `cursor` of the next page, null on the last. A search that finds little reads for
    half a second a page: a page may be empty although there is a next one.
    """
    state = state_of(request)
    caller = await state.gate.admit(request)
    asked, texts = read_query(OwnEntries, request.query_params), reads_all(caller)
    if asked.text is not None and not texts:
        raise BadRequest(
            "text",
            "is not looked for, since another key of the tenant may have asked; an operator allows "
            "it with the tenant's setting `keys_read_content`",
        )
    found = await state.parts.entries.entries.search.page(
        asked.filter(caller.tenant.name, state.parts.clock()),
        limit=asked.limit,
        before=asked.before,
        withheld=withheld_of(state.parts),
    )
    return await shown.page(state, found, texts=texts)


@router.get("/{id}", summary="All of a stored answer of yours")
async def entry(request: Request, id: str) -> dict[str, Any]:
    """Show an entry with its whole message, as Claude sent it but for the message's id.

    Question and message are null unless the tenant's setting `keys_read_content` is on.
    """
    state = state_of(request)
    caller = await state.gate.admit(request)
    found = await state.parts.entries.entries.search.one(caller.tenant.name, id)
    if found is None:
        raise NotFound("no stored answer of yours has this id; it may have gone already")
    return await shown.whole(state, found, texts=reads_all(caller))
