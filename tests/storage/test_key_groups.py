"""Answer groups: kept beside the entries, and never another entry's."""

from __future__ import annotations

from dataclasses import replace

from cacheserver.cache.store.entries import Entries
from cacheserver.cache.store.stored_entry import Stored
from cacheserver.storage.connection import Connection
from tests.cache.entries import entry as an_entry


async def test_an_entry_is_its_own_group_until_it_is_compared(
    redis: Connection, prefix: str
) -> None:
    entries = Entries(redis, prefix=prefix)
    entry = an_entry()
    await entries.put(entry, keep_s=0, vector=None, asked_at=entry.created_at)
    ref = (entry.fingerprint, entry.id)
    assert await entries.grouped([ref]) == [Stored(entry, entry.id)]
    await entries.set_group(entry, "other")
    assert await entries.grouped([ref, ("no such", entry.id)]) == [Stored(entry, "other"), None]
    newer = replace(entry, id="f" * 32)
    await entries.put(newer, keep_s=0, vector=None, asked_at=entry.created_at)
    ref_of_newer = (entry.fingerprint, newer.id)
    assert await entries.grouped([ref, ref_of_newer]) == [None, Stored(newer, newer.id)]
    await entries.close()


async def test_a_mark_and_a_group_are_both_kept_and_a_pin_can_be_taken_back(
    redis: Connection, prefix: str
) -> None:
    entries = Entries(redis, prefix=prefix)
    entry = an_entry()
    ref = (entry.fingerprint, entry.id)
    await entries.put(entry, keep_s=0, vector=None, asked_at=entry.created_at)
    assert await entries.pin(entry, pinned=True)
    assert await entries.pin(entry, pinned=True)
    await entries.set_group(entry, "other")
    assert await entries.grouped([ref]) == [Stored(entry, "other", corroborated=True, pinned=True)]
    await entries.corroborate(entry)
    assert await entries.pin(entry, pinned=False)
    assert await entries.grouped([ref]) == [Stored(entry, "other", corroborated=True)]
    assert not await entries.pin(replace(entry, id="0" * 32), pinned=True)
    await entries.close()


async def test_marks_end_with_their_entry(redis: Connection, prefix: str) -> None:
    entries = Entries(redis, prefix=prefix)
    entry = an_entry()
    await entries.put(entry, keep_s=0, vector=None, asked_at=entry.created_at)
    await entries.corroborate(entry)
    newer = replace(entry, id="f" * 32)
    await entries.put(newer, keep_s=0, vector=None, asked_at=entry.created_at)
    await entries.corroborate(entry)  # a mark that comes too late says nothing of the newer one
    assert not await entries.pin(entry, pinned=True)
    assert await entries.grouped([(newer.fingerprint, newer.id)]) == [Stored(newer, newer.id)]
    await entries.close()
