"""Which model a conversation is on, kept in a real store."""

from __future__ import annotations

import pytest

from cacheserver.core.errors import StoreError
from cacheserver.routing.sticky_models import StickyModels
from cacheserver.routing.turns import LastAnswer
from cacheserver.storage.connection import Connection, command, connect


async def test_what_was_kept_is_found_under_the_first_digest_that_has_any(
    redis: Connection, prefix: str
) -> None:
    conversations = StickyModels(redis, prefix=prefix)
    await conversations.keep([("b", LastAnswer("sonnet", 12.5), 60)])
    await conversations.keep([("c", LastAnswer("opus"), 60)])
    assert await conversations.first(["a", "b", "c"]) == LastAnswer("sonnet", 12.5)
    assert await conversations.first(["c", "b"]) == LastAnswer("opus")
    assert await conversations.first(["a"]) is None
    assert await conversations.first([]) is None


async def test_what_was_kept_dies_by_itself_and_is_replaced(redis: Connection, prefix: str) -> None:
    conversations = StickyModels(redis, prefix=prefix)
    await conversations.keep([("a", LastAnswer("one"), 60)])
    await conversations.keep([("a", LastAnswer("two"), 3_600)])
    assert await conversations.first(["a"]) == LastAnswer("two")
    assert 3_590 < await command(redis, "TTL", f"{prefix}cv:a") <= 3_600


@pytest.mark.parametrize("value", ["", "{}", "[1]", '["m", "soon"]', "\x00"])
async def test_what_cannot_be_read_is_not_there(redis: Connection, prefix: str, value: str) -> None:
    conversations = StickyModels(redis, prefix=prefix)
    await command(redis, "SET", f"{prefix}cv:a", value)
    await conversations.keep([("b", LastAnswer("m"), 60)])
    assert await conversations.first(["a"]) is None
    assert await conversations.first(["a", "b"]) == LastAnswer("m")


async def test_all_are_forgotten_and_nothing_else(redis: Connection, prefix: str) -> None:
    conversations = StickyModels(redis, prefix=prefix)
    await conversations.forget()
    for digest in ("a", "b"):
        await conversations.keep([(digest, LastAnswer("m"), 60)])
    await command(redis, "SET", f"{prefix}cvt:other", 1)
    await conversations.forget()
    assert await conversations.first(["a", "b"]) is None
    assert await command(redis, "GET", f"{prefix}cvt:other") == b"1"


async def test_a_store_that_is_away_is_a_store_error() -> None:
    conversations = StickyModels(connect("unix:///nowhere/redis.sock"))
    with pytest.raises(StoreError):
        await conversations.first(["a"])
    with pytest.raises(StoreError):
        await conversations.keep([("a", LastAnswer("m"), 60)])
