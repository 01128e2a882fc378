"""The contract of `ReviewQueue`, on every engine at hand."""

from __future__ import annotations

import asyncio

import pytest

from cacheserver.calibration.review.review_store import LIFE_S, ReviewQueue
from cacheserver.core.errors import StoreError
from cacheserver.storage.connection import Connection, command

PAIR = {"question": "Où est ma carte ?", "stored": "Where is my card?", "entry": "e1"}


@pytest.fixture
def queue(redis: Connection, prefix: str) -> ReviewQueue:
    return ReviewQueue(redis, prefix=prefix)


async def export(queue: ReviewQueue, tenant: str = "acme") -> list[int]:
    """All items, page by page."""
    found: list[int] = []
    after: str | None = None
    while page := await queue.items(tenant, after=after, limit=3):
        found += [item["n"] for _, item in page]
        after = page[-1][0]
    return found


async def test_items_come_back_whole_the_oldest_first(queue: ReviewQueue) -> None:
    assert await queue.items("acme") == []
    ids = [await queue.put("acme", PAIR | {"n": n}) for n in range(3)]
    assert await queue.items("acme") == [(ids[n], PAIR | {"n": n}) for n in range(3)]
    assert await queue.items("acme", after=ids[0], limit=1) == [(ids[1], PAIR | {"n": 1})]


async def test_items_put_at_once_by_several_servers_are_all_there_under_their_own_ids(
    redis: Connection, prefix: str
) -> None:
    servers = [ReviewQueue(redis, prefix=prefix) for _ in range(2)]
    ids = await asyncio.gather(*(one.put("acme", {"n": n}) for n in range(25) for one in servers))
    assert len(set(ids)) == 50
    assert sorted(await export(servers[0])) == sorted([*range(25), *range(25)])


async def test_an_item_comes_after_the_last_one_whatever_the_clock_says(
    queue: ReviewQueue, redis: Connection, prefix: str
) -> None:
    ahead = "5" * 15 + "0"
    await command(redis, "ZADD", f"{prefix}reviews:4:acme", ahead, ahead)
    await command(redis, "SET", f"{prefix}review:4:acme:{ahead}", b'{"n": 1}')
    assert await queue.put("acme", {"n": 2}) == "5" * 15 + "1"
    assert await export(queue) == [1, 2]


async def test_a_full_queue_drops_its_oldest_items(redis: Connection, prefix: str) -> None:
    queue = ReviewQueue(redis, prefix=prefix, most=4)
    for n in range(7):
        await queue.put("acme", {"n": n})
    assert await export(queue) == [3, 4, 5, 6]
    assert len(await command(redis, "KEYS", f"{prefix}review:*")) == 4


async def test_removed_items_are_gone(queue: ReviewQueue, redis: Connection, prefix: str) -> None:
    ids = [await queue.put("acme", {"n": n}) for n in range(4)]
    assert await queue.remove("beta", ids) == 0
    assert await queue.remove("acme", [ids[0], ids[2], "0" * 16]) == 2
    assert await queue.remove("acme", []) == 0
    assert await export(queue) == [1, 3]
    await queue.remove("acme", ids)
    assert await command(redis, "KEYS", f"{prefix}*") == []


async def test_a_pair_told_twice_is_put_once_even_after_it_was_removed(queue: ReviewQueue) -> None:
    first = await queue.put("acme", {"n": 1}, once="p")
    assert await queue.put("acme", {"n": 2}, once="p") == first
    await queue.remove("acme", [first])
    await queue.put("acme", {"n": 3}, once="p")
    await queue.put("acme", {"n": 4}, once="q")
    await queue.put("beta", {"n": 5}, once="p")
    assert await export(queue) == [4]
    assert await export(queue, "beta") == [5]


async def test_what_users_asked_is_kept_for_a_month(
    queue: ReviewQueue, redis: Connection, prefix: str
) -> None:
    await queue.put("acme", PAIR, once="p")
    keys = await command(redis, "KEYS", f"{prefix}*")
    assert len(keys) == 3
    for key in keys:
        assert LIFE_S - 10 < await command(redis, "TTL", key) <= LIFE_S


async def test_items_that_have_died_leave_no_gap_in_a_page(
    queue: ReviewQueue, redis: Connection, prefix: str
) -> None:
    ids = [await queue.put("acme", {"n": n}) for n in range(10)]
    for dead in (*ids[:5], ids[7]):  # as their own life does it
        await command(redis, "DEL", f"{prefix}review:4:acme:{dead}")
    assert await export(queue) == [5, 6, 8, 9]
    assert await command(redis, "ZCARD", f"{prefix}reviews:4:acme") == 4


async def test_an_item_dies_by_itself(redis: Connection, prefix: str) -> None:
    queue = ReviewQueue(redis, prefix=prefix, life_s=0.02)
    await queue.put("acme", {"n": 1})
    while await queue.items("acme"):
        pass
    assert await command(redis, "EXISTS", f"{prefix}reviews:4:acme") == 0


@pytest.mark.parametrize(("tenant", "other"), [("a", "b"), ("a:b", "a"), ("a", "1:a")])
async def test_no_tenant_sees_anothers_items(queue: ReviewQueue, tenant: str, other: str) -> None:
    item = await queue.put(tenant, PAIR)
    assert await queue.items(other) == []
    assert await queue.remove(other, [item, f"b:{item}"]) == 0
    assert await queue.items(tenant) == [(item, PAIR)]


async def test_what_will_not_do_is_refused_without_its_words(queue: ReviewQueue) -> None:
    with pytest.raises(StoreError, match="too large") as refused:
        await queue.put("acme", {"question": "secret " * 6_000})
    assert "secret" not in str(refused.value)
    with pytest.raises(StoreError, match="not the id"):
        await queue.items("acme", after="inf")
