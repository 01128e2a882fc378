"""Search of stored answers: what it finds is what looking at every entry finds."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.cache.store.entries import Entries
from cacheserver.cache.store.entry_search import EntryFilter, EntrySearch, FoundEntry
from cacheserver.core.types import Entry
from cacheserver.storage import key_groups
from cacheserver.storage.connection import Connection, command
from tests.cache.entries import HALF, entry

_unique = count()
_TEXTS = ("Wie heißt die STRASSE?", "what is the STREET called", "Street", None)


def aged(age_s: float, fingerprint: str, **changes: Any) -> Entry:
    """An entry that was stored so long ago, with an id of that time."""
    at = int(time.time()) - age_s
    id = f"{int(at * 1000):012x}{next(_unique):020x}"
    return entry(fingerprint, id=id, created_at=at, **changes)


def holds(wanted: EntryFilter, one: Entry, hits: int, *, pinned: bool) -> bool:
    """Return whether an entry is wanted, looked at alone."""
    text = wanted.text
    return all(
        (
            wanted.tenant in (None, one.tenant),
            wanted.namespace in (None, one.namespace),
            wanted.tag is None or wanted.tag in one.tags,
            wanted.scope in (None, one.scope),
            wanted.model in (None, one.model),
            text is None or (one.text is not None and text.casefold() in one.text.casefold()),
            wanted.created_from is None or one.created_at >= wanted.created_from,
            wanted.created_to is None or one.created_at < wanted.created_to,
            wanted.hits_min is None or hits >= wanted.hits_min,
            wanted.hits_max is None or hits <= wanted.hits_max,
            wanted.pinned is None or pinned == wanted.pinned,
        )
    )


async def pages(
    search: EntrySearch, wanted: EntryFilter, *, limit: int, page_s: float
) -> list[FoundEntry]:
    """All pages, one after the other."""
    found, before = list[FoundEntry](), None
    while True:
        page = await search.page(wanted, limit=limit, before=before, page_s=page_s)
        assert len(page.items) <= limit
        found += page.items
        if page.next is None:
            return found
        assert before is None or page.next < before  # it goes on
        before = page.next


_tenants, _spaces, _tags = (st.sampled_from(names) for names in (("a", "b"), ("n", "m"), "xyz"))
_models, _scopes = st.sampled_from(("opus", "haiku")), st.sampled_from(("s1", "s2"))
_stored: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    tenant=_tenants,
    namespace=_spaces,
    tags=st.lists(_tags, max_size=2, unique=True).map(tuple),
    scope=_scopes,
    model=_models,
    text=st.sampled_from(_TEXTS),
)
_filters = st.builds(
    EntryFilter,
    tenant=st.none() | _tenants,
    namespace=st.none() | _spaces,
    tag=st.none() | _tags,
    scope=st.none() | _scopes,
    model=st.none() | _models,
    text=st.none() | st.sampled_from(("street", "strasse", "STRASSE?", "no such")),
    created_from=st.none() | st.integers(0, 5),
    created_to=st.none() | st.integers(0, 5),
    hits_min=st.none() | st.integers(0, 2),
    hits_max=st.none() | st.integers(0, 2),
    pinned=st.none() | st.booleans(),
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(st.tuples(_stored, st.integers(0, 5), st.integers(0, 2), st.booleans()), max_size=12),
    st.lists(_filters, min_size=1, max_size=6),
    st.integers(1, 5),
    st.sampled_from((0.0, 60.0)),
)
async def test_a_search_finds_what_looking_at_every_entry_finds(
    redis: Connection,
    stored: list[tuple[dict[str, Any], int, int, bool]],
    filters: list[EntryFilter],
    limit: int,
    page_s: float,
) -> None:
    prefix = f"{uuid.uuid4().hex}:"
    store = Entries(redis, prefix=prefix)
    kept: list[tuple[Entry, int, bool]] = []
    for number, (fields, age_s, hits, pinned) in enumerate(stored):
        one = aged(age_s, f"f{number}", **fields)
        assert await store.put(one, keep_s=0, vector=HALF, asked_at=time.time())
        for _ in range(hits):
            store.touch(one, 7)
        if pinned:
            assert await store.pin(one, pinned=True)
        kept.append((one, hits, pinned))
    await store.upkeep()
    now, stored_by_id = int(time.time()), {one.id: one for one, *_ in kept}
    for asked in filters:
        wanted = replace(
            asked,
            created_from=None if asked.created_from is None else now - asked.created_from,
            created_to=None if asked.created_to is None else now - asked.created_to,
        )
        expected = sorted(
            (one.id for one, hits, pin in kept if holds(wanted, one, hits, pinned=pin)),
            reverse=True,
        )
        found = await pages(store.search, wanted, limit=limit, page_s=page_s)
        assert [one.entry.id for one in found] == expected
        assert {one.entry.id: one.entry for one in found}.items() <= stored_by_id.items()
        assert [one.entry.id async for some in store.search.all(wanted) for one in some] == expected
        for line in found:
            assert await store.search.one(line.entry.tenant, line.entry.id) == line
            assert await store.search.one("other", line.entry.id) is None
            assert line.saved == 7 * line.hits
    await store.close()


async def test_more_entries_than_one_read_come_in_pages_without_gaps(
    redis: Connection, prefix: str
) -> None:
    store = Entries(redis, prefix=prefix)
    many = [aged(n, f"f{n}", text=f"Question {n}", tags=("t",)) for n in range(450)]
    for one in many:
        assert await store.put(one, keep_s=0, vector=None, asked_at=time.time())
    for wanted in (EntryFilter(), EntryFilter("acme"), EntryFilter("acme", tag="t")):
        found = await pages(store.search, wanted, limit=200, page_s=60)
        assert [one.entry for one in found] == many
    last = EntryFilter("acme", text="question 449")
    page = await store.search.page(last, limit=10, page_s=0)
    assert (page.items, page.next is None) == ([], False)  # its time was over
    assert [one.entry for one in await pages(store.search, last, limit=10, page_s=0)] == many[-1:]
    await store.close()


async def test_a_page_of_another_server_has_what_was_stored_since_its_last_list(
    redis: Connection, prefix: str
) -> None:
    store = Entries(redis, prefix=prefix)
    one, other = store.search, Entries(redis, prefix=prefix).search
    old = [aged(100 + n, f"old{n}", tags=()) for n in range(3)]
    new = [aged(n, f"new{n}", tags=()) for n in range(4)]
    for made in old:
        assert await store.put(made, keep_s=0, vector=None, asked_at=time.time())
    everything = EntryFilter("acme")
    assert len((await other.page(everything, limit=2)).items) == 2
    for made in new:
        assert await store.put(made, keep_s=0, vector=None, asked_at=time.time())
    first = await one.page(everything, limit=2)
    for search in (other, one):
        rest = await search.page(everything, limit=9, before=first.next)
        assert [found.entry for found in (*first.items, *rest.items)] == [*new, *old]
    gone = await store.purge_id("acme", old[0].id)
    assert gone == 1
    rest = await one.page(everything, limit=9, before=first.next)  # listed before it went
    assert [found.entry for found in rest.items] == [*new[2:], *old[1:]]
    await store.close()


async def test_hits_count_on_from_rows_that_have_only_what_eviction_needs(
    redis: Connection, prefix: str
) -> None:
    one = entry()
    store = Entries(redis, prefix=prefix, max_bytes=1_000_000)
    assert await store.put(one, keep_s=0, vector=None, asked_at=time.time())
    await command(redis, "HSET", f"{prefix}hits", one.id, f"2.5 {time.time()!r}")
    found = await store.search.one("acme", one.id)
    assert found is not None
    assert (found.hits, found.saved) == (0, 0)
    for _ in range(3):
        store.touch(one, 2**40)
    await store.upkeep()
    store.touch(one, 1)
    await store.upkeep()
    found = await store.search.one("acme", one.id)
    assert found is not None
    assert (found.hits, found.saved) == (4, 3 * 2**40 + 1)
    decayed = (await command(redis, "HGET", f"{prefix}hits", one.id)).split()[0]
    assert 6.4 < float(decayed) <= 6.5
    await store.close()


async def test_hits_are_counted_as_the_server_stops(redis: Connection, prefix: str) -> None:
    one = entry()
    async with Entries(redis, prefix=prefix) as store:
        assert await store.put(one, keep_s=0, vector=None, asked_at=time.time())
        await store.upkeep()
        store.touch(one, 5)
    found = await store.search.one("acme", one.id)
    assert found is not None
    assert (found.hits, found.saved) == (1, 5)


async def test_a_search_by_text_skips_tenants_whose_texts_are_withheld(
    redis: Connection, prefix: str
) -> None:
    async def withheld(tenant: str) -> bool:
        return tenant == "clinic"

    store = Entries(redis, prefix=prefix)
    for tenant in ("clinic", "shop"):
        one = entry(f"of {tenant}", tenant=tenant, text="What is it?")
        assert await store.put(one, keep_s=0, vector=None, asked_at=time.time())
    page = await store.search.page(EntryFilter(text="what"), limit=9, withheld=withheld)
    assert [one.entry.tenant for one in page.items] == ["shop"]
    page = await store.search.page(EntryFilter(), limit=9, withheld=withheld)
    assert len(page.items) == 2
    await store.close()


async def test_a_purge_of_everything_takes_all_tenants_and_what_is_under_way(
    redis: Connection, prefix: str
) -> None:
    left: list[str] = []
    store = Entries(redis, prefix=prefix, forget=left.extend)
    asked_at = time.time()
    many = [entry(f"f{n}", tenant=f"t{n % 3}") for n in range(401)]
    for one in many:
        assert await store.put(one, keep_s=0, vector=HALF, asked_at=asked_at)
    assert await store.search.count(key_groups.EVERYTHING) == 401
    assert await store.purge_group(key_groups.EVERYTHING) == 401
    assert sorted(left) == sorted(one.id for one in many)
    assert await store.used_bytes() == 0
    late = entry("late", tenant="another")
    assert not await store.put(late, keep_s=0, vector=None, asked_at=asked_at)
    assert await store.put(late, keep_s=0, vector=None, asked_at=time.time())
    await store.close()


async def test_a_purge_of_ids_takes_these_and_leaves_their_successors(
    redis: Connection, prefix: str
) -> None:
    store = Entries(redis, prefix=prefix)
    old, other, third = entry("f1"), entry("f2"), entry("f3")
    for one in (old, other, third):
        assert await store.put(one, keep_s=0, vector=HALF, asked_at=time.time())
    newer = entry("f1")
    assert await store.put(newer, keep_s=0, vector=HALF, asked_at=time.time())
    assert await store.purge_ids([old.id, other.id, "0" * 32]) == 1
    assert await store.get("f1") == newer
    assert await store.get("f2") is None
    assert await store.get("f3") == third
    assert await store.purge_ids([]) == 0
    await store.close()
