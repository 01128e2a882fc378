"""An entry as every route shows it: a line of a list, or whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cacheserver.api.resources.entries.selection import withheld_of
from cacheserver.api.state import AppState
from cacheserver.cache.store.entry_search import EntryPage, FoundEntry
from cacheserver.core import json_text
from cacheserver.core.keyed_digests import NO_CONTENT, OTHER_KEY
from cacheserver.core.money import usd

BEGINNING = 300  # characters of an answer in a list


async def page(state: AppState, found: EntryPage, *, texts: bool = True) -> dict[str, Any]:
    """Return a page of a list; `texts` False: without questions and answers."""
    return {"items": await items(state, found.items, texts=texts), "next": found.next}


async def items(
    state: AppState, found: Sequence[FoundEntry], *, texts: bool = True
) -> list[dict[str, Any]]:
    """Return entries as lines of a list, with the beginning of each answer."""
    hidden = {one: await _hidden(state, one, texts) for one in {one.entry.tenant for one in found}}
    now = state.parts.clock()

    def work() -> list[dict[str, Any]]:
        return [_line(one, now, hidden=hidden[one.entry.tenant]) for one in found]

    return await state.heavy.do(sum(len(one.entry.message) for one in found), work)


async def whole(state: AppState, found: FoundEntry, *, texts: bool = True) -> dict[str, Any]:
    """Return all of an entry: its line, and the message as Claude sent it, without an id."""
    entry = found.entry
    hidden = await _hidden(state, entry.tenant, texts)

    def work() -> dict[str, Any]:
        return {
            **_line(found, state.parts.clock(), hidden=hidden),
            "message": None if hidden else json_text.loads(entry.message),
            "usage": asdict(entry.usage),
            "fingerprint": entry.fingerprint if texts else None,  # of a text it could be guessed by
            "group": found.marks.group,
        }

    return await state.heavy.do(len(entry.message), work)


async def _hidden(state: AppState, tenant: str, texts: bool) -> str | None:
    """Return why no text of a tenant is shown; None: texts are."""
    if await withheld_of(state.parts)(tenant):
        return NO_CONTENT
    return None if texts else OTHER_KEY


def _line(found: FoundEntry, now: float, *, hidden: str | None) -> dict[str, Any]:
    entry = found.entry
    shown = {
        "id": entry.id,
        "tenant": entry.tenant,
        "namespace": entry.namespace,
        "scope": entry.scope,
        "question": None if hidden else entry.text,
        "answer": None if hidden else _beginning(entry.message),
        "model": entry.model,
        "origin": entry.origin,
        "curated_by": entry.curated_by,
        "put_by": entry.put_by,
        "tags": list(entry.tags),
        "created_at": entry.created_at,
        "expires_at": entry.expires_at,
        "expired": now >= entry.expires_at,
        "hits": found.hits,
        "cost_usd": None if entry.cost is None else usd(entry.cost),
        "saved_usd": usd(found.saved),
        "pinned": found.marks.pinned,
        "corroborated": found.marks.corroborated,
        "bytes": found.size,
    }
    return {**shown, "withheld": hidden} if hidden else shown


def _beginning(message: bytes) -> str | None:
    """Return the beginning of an answer's text; None where it has none, such as a tool's call."""
    content = json_text.loads(message).get("content") or ()
    texts = [block["text"] for block in content if block.get("type") == "text"]
    return "\n".join(texts)[:BEGINNING] if texts else None
