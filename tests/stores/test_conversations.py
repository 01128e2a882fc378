"""Which model a conversation is on, kept in a real store."""

from __future__ import annotations

import pytest

from cacheserver.errors import StoreError
from cacheserver.policy.routing_turns import Kept
from cacheserver.stores.connection import Connection, command, connect
from cacheserver.stores.conversations import Conversations


async def test_what_was_kept_is_found_under_the_first_digest_that_has_any(
    redis: Connection, prefix: str
) -> None:
    conversations = Conversations(redis, prefix=prefix)
    await conversations.keep("b", Kept("sonnet", 12.5), keep_s=60)
    await conversations.keep("c", Kept("opus"), keep_s=60)
    assert await conversations.first(["a", "b", "c"]) == Kept("sonnet", 12.5)
    assert await conversations.first(["c", "b"]) == Kept("opus")
    assert await conversations.first(["a"]) is None
    assert await conversations.first([]) is None


async def test_what_was_kept_dies_by_itself_and_is_replaced(redis: Connection, prefix: str) -> None:
    conversations = Conversations(redis, prefix=prefix)
    await conversations.keep("a", Kept("one"), keep_s=60)
    await conversations.keep("a", Kept("two"), keep_s=3_600)
    assert await conversations.first(["a"]) == Kept("two")
    assert 3_590 < await command(redis, "TTL", f"{prefix}cv:a") <= 3_600


@pytest.mark.parametrize("value", ["", "{}", "[1]", '["m", "soon"]', "\x00"])
async def test_what_cannot_be_read_is_not_there(redis: Connection, prefix: str, value: str) -> None:
    conversations = Conversations(redis, prefix=prefix)
    await command(redis, "SET", f"{prefix}cv:a", value)
    await conversations.keep("b", Kept("m"), keep_s=60)
    assert await conversations.first(["a"]) is None
    assert await conversations.first(["a", "b"]) == Kept("m")


async def test_all_are_forgotten_and_nothing_else(redis: Connection, prefix: str) -> None:
    conversations = Conversations(redis, prefix=prefix)
    await conversations.forget()
    for digest in ("a", "b"):
        await conversations.keep(digest, Kept("m"), keep_s=60)
    await command(redis, "SET", f"{prefix}cvt:other", 1)
    await conversations.forget()
    assert await conversations.first(["a", "b"]) is None
    assert await command(redis, "GET", f"{prefix}cvt:other") == b"1"


async def test_a_store_that_is_away_is_a_store_error() -> None:
    conversations = Conversations(connect("unix:///nowhere/redis.sock"))
    with pytest.raises(StoreError):
        await conversations.first(["a"])
    with pytest.raises(StoreError):
        await conversations.keep("a", Kept("m"), keep_s=60)
