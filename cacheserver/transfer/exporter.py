"""Exports of a tenant's labels and entries, in pages, as JSON objects. No secret is among them.

Rule: an item has all that a put needs, so that another server that is asked by the same requests
finds it: fingerprint and scope are those of this one. Vectors are left out, as an embedder's own.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from cacheserver.cache.store.entry_search import EntryFilter, EntrySearch, FoundEntry
from cacheserver.calibration.labels import RETRACTS, SHADOW, Labels
from cacheserver.core.errors import BadRequest

_PAGE: Final = 200  # entries: some 800 kB
_CURSOR: Final = re.compile(r"labels:([0-9a-f]{64})|entries:([0-9a-f]{32})?")


@dataclass(frozen=True, slots=True)
class ExportPage:
    """Items, and the cursor of those that follow; None: there are none."""

    items: list[dict[str, Any]]
    next: str | None


class Exporter:
    """Reads what a tenant has. Every method raises `StoreError`."""

    def __init__(self, search: EntrySearch, labels: Labels) -> None:
        self._search = search
        self._labels = labels

    async def page(self, tenant: str, cursor: str | None, now: float) -> ExportPage:
        """Return the labels of a scope, or some entries that have not expired, newest first.

        Raises `BadRequest` for a cursor that no page named.
        """
        found = re.fullmatch("()()", "") if cursor is None else _CURSOR.fullmatch(cursor)
        if found is None:
            raise BadRequest("cursor", "must be the `next` of the page before")
        if cursor is None or found[1]:
            scopes = [one for one in await self._labels.scopes(tenant) if one != SHADOW]
            left = [one for one in scopes if one > (found[1] or "")]
            if left:
                return ExportPage(await self._of_scope(tenant, left[0]), f"labels:{left[0]}")
            found = _CURSOR.fullmatch("entries:")
            assert found is not None
        page = await self._search.page(EntryFilter(tenant), limit=_PAGE, before=found[2])
        live = {one.entry.id: one for one in page.items if one.entry.expires_at > now}
        # After the entries: none is missed.
        refused = await self._labels.tombstones.questions(tenant, live)
        items = [_entry(one, refused.get(id, [])) for id, one in live.items()]
        return ExportPage(items, None if page.next is None else f"entries:{page.next}")

    async def _of_scope(self, tenant: str, scope: str) -> list[dict[str, Any]]:
        rows = await self._labels.window(tenant, scope)
        gone = {str(row[RETRACTS]) for _, row in rows if RETRACTS in row}
        return [
            {"kind": "label", "scope": scope, "id": id, "label": row}
            for id, row in rows
            if RETRACTS not in row and id not in gone
        ]


def _entry(found: FoundEntry, refused_to: list[str]) -> dict[str, Any]:
    entry = found.entry
    return {
        "kind": "entry",
        "fingerprint": entry.fingerprint,
        "scope": entry.scope,
        "namespace": entry.namespace,
        "question": entry.text,
        "model": entry.model,
        "message": orjson.Fragment(entry.message),
        "usage": asdict(entry.usage),
        "cost_nanodollars": entry.cost,
        "tags": list(entry.tags),
        "created_at": entry.created_at,
        "expires_at": entry.expires_at,
        "actor": entry.actor,
        "conversation": entry.conversation,
        "made_up": entry.made_up,
        "curated_by": entry.curated_by,
        "put_by": entry.put_by,
        "pinned": found.marks.pinned,
        "refused_to": refused_to,  # fingerprints of questions that it was found wrong for
    }
