"""Answer groups: kept beside the entries, and never another entry's."""

from __future__ import annotations

from dataclasses import replace

from cacheserver.stores.connection import Connection
from cacheserver.stores.entries import Entries
from tests.stores.making import entry as an_entry


async def test_an_entry_is_its_own_group_until_it_is_compared(
    redis: Connection, prefix: str
) -> None:
    entries = Entries(redis, prefix=prefix)
    entry = an_entry()
    await entries.put(entry, keep_s=0, vector=None, asked_at=entry.created_at)
    ref = (entry.fingerprint, entry.id)
    assert await entries.grouped([ref]) == [(entry, entry.id)]
    await entries.set_group(entry, "other")
    assert await entries.grouped([ref, ("no such", entry.id)]) == [(entry, "other"), None]
    newer = replace(entry, id="f" * 32)
    await entries.put(newer, keep_s=0, vector=None, asked_at=entry.created_at)
    assert await entries.grouped([ref, (entry.fingerprint, newer.id)]) == [None, (newer, newer.id)]
    await entries.close()
