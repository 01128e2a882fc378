"""The ids in an index, as they are compared with the store."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.semantic_index.entry_ids import EntryIds, gone_of
from tests.cache.semantic_index.contents import all_but

_IDS = st.integers(0, 40).map(lambda n: f"{n:032x}")


async def pages(*lists: Sequence[str]) -> AsyncIterator[Sequence[str]]:
    for one in lists:
        yield one


@given(st.lists(st.lists(_IDS, max_size=9), max_size=6), st.lists(st.lists(_IDS, max_size=9)))
async def test_it_is_a_set_that_knows_what_it_was_asked(
    read: list[list[str]], asked: list[list[str]]
) -> None:
    noted = list[str]()
    ids = await EntryIds.read(
        pages(*([id + "f" for id in page] for page in read)), note=noted.append
    )
    held = {id for page in read for id in page}
    assert len(ids) == len(held)
    assert noted == ["f"] * sum(map(len, read))
    unmet = set(held)
    for some in asked:
        assert ids.meet(some) == [id for id in some if id not in held]
        unmet -= set(some)
        assert ids.unmet == len(unmet)


async def test_a_comparison_does_not_hold_the_names() -> None:
    count, page = 200_000, 500

    async def names() -> AsyncIterator[list[str]]:
        for start in range(0, count, page):
            yield [f"{n:032x}{n:064x}" for n in range(start, start + page)]

    tracemalloc.start()
    try:
        ids = await EntryIds.read(names())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(ids) == count
    assert peak < 60 * count


async def test_what_the_store_lacks_is_gone() -> None:
    names = [f"{n:032x}{n:064x}" for n in range(5)]
    assert await gone_of(names, all_but(names[1:3])) == set(names[1:3])
    assert await gone_of([], all_but(names)) == set()
