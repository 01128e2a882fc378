"""Beginnings of stored answers, for people who judge whether an answer serves a question."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from cacheserver.cache.store.entry_search import EntrySearch
from cacheserver.calibration.answers.reader import text_of
from cacheserver.core.types import Entry, Tenant

_CHARS: Final = 240  # three lines of a page
_AT_ONCE: Final = 20  # answers read on the event loop: 0.1 ms


class AnswerBeginnings:
    """Reader of the beginnings of answers."""

    def __init__(self, search: EntrySearch) -> None:
        self._search = search

    async def of(self, tenant: Tenant, ids: Iterable[str]) -> dict[str, str]:
        """Return the beginnings by entry id, without those that are gone, or have no text.

        Of a tenant without content there are none. Raises `StoreError`.
        """
        if tenant.no_content:
            return {}
        found = await self._search.some(tenant.name, list(dict.fromkeys(ids)))
        if len(found) <= _AT_ONCE:
            return _beginnings(found)
        return await asyncio.to_thread(_beginnings, found)


def _beginnings(entries: Mapping[str, Entry]) -> dict[str, str]:
    texts = ((id, text_of(entry.message)[:_CHARS]) for id, entry in entries.items())
    return {id: text for id, text in texts if text}
