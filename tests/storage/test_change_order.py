"""Opposite changes that a failover has lost: the newest one wins, in whatever order they return."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.limits import Limits
from cacheserver.storage.connection import Connection, command
from cacheserver.storage.hash_fields import FieldChange
from cacheserver.storage.recent_changes import RecentChanges, Redo
from tests.house import House
from tests.redis_clusters import Nodes, cluster
from tests.redis_servers import prefix, redis, url
from tests.storage.replicas import lost

__all__ = ["prefix", "redis", "url"]  # fixtures

_WITHIN_S = 30.0  # a failover takes three seconds, on a machine that is not busy


class Hash:
    """A hash with one field, and the changes that servers make of it."""

    def __init__(self, redis: Connection, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix

    def change(self, was: str, becomes: str, *, final: bool = False) -> FieldChange:
        fields = {"one": (was.encode(), becomes.encode())}
        return FieldChange(self._redis, fields, hash="some", prefix=self._prefix, final=final)

    def unanswered(self, was: str, becomes: str, *, final: bool = False) -> FieldChange:
        """Return a change that may have been made: it was sent, and no reply came."""
        change = self.change(was, becomes, final=final)
        change.queue(self._redis.pipeline(), again=False)
        return change

    async def made(self, was: str, becomes: str, *, final: bool = False) -> FieldChange:
        change = self.change(was, becomes, final=final)
        assert await change.make()
        return change

    async def value(self) -> str:
        found = await command(self._redis, "HGET", f"{self._prefix}some", "one")
        return (found or b"").decode()

    async def fail_over(self, value: str) -> None:
        """Leave what a replica has that lacks every change since `value`."""
        await command(self._redis, "DEL", f"{self._prefix}changed:some:one", f"{self._prefix}some")
        if value:
            await command(self._redis, "HSET", f"{self._prefix}some", "one", value)


@pytest.fixture
def some(redis: Connection, prefix: str) -> Hash:
    return Hash(redis, prefix)


async def test_the_newest_change_wins_in_whatever_order_they_are_made_again(some: Hash) -> None:
    steps = ["", "a", "b", "", "a"]
    for order in itertools.permutations(range(4)):
        await some.fail_over("")
        changes = [await some.made(was, becomes) for was, becomes in itertools.pairwise(steps)]
        for has in range(5):  # of the changes
            await some.fail_over("")
            for change in changes[:has]:
                await change.again()
            for at in order:
                await changes[at].again()
            assert await some.value() == "a", (order, has)


async def test_one_that_a_failover_kept_is_not_made_again_over_a_newer_one(some: Hash) -> None:
    old = await some.made("", "a")
    await some.made("a", "b")
    await old.again()
    assert await some.value() == "b"
    await some.made("b", "")
    await old.again()
    assert await some.value() == ""


async def test_one_that_was_refused_or_not_sent_is_never_made(some: Hash) -> None:
    await some.made("", "a")
    refused = some.change("", "b")
    assert not await refused.make()
    unsent = some.change("", "c")
    await some.fail_over("")
    await refused.again()
    await unsent.again()
    assert await some.value() == ""


async def test_one_without_a_reply_is_made_where_nothing_was_changed_and_gives_way(
    some: Hash,
) -> None:
    unknown = some.unanswered("", "a")
    await unknown.again()
    assert await some.value() == "a"
    newer = await some.made("a", "b")
    for first, second in ((unknown, newer), (newer, unknown)):
        await some.fail_over("")
        await first.again()
        await second.again()
        assert await some.value() == "b"


async def test_what_is_removed_for_good_stays_removed_also_without_a_reply(some: Hash) -> None:
    changed = await some.made("", "a")
    for change in (some.unanswered("a", "", final=True), some.unanswered("b", "", final=True)):
        await some.fail_over("")
        await changed.again()
        for _ in range(2):
            await change.again()
            assert await some.value() == ""
            await changed.again()
            assert await some.value() == ""


async def test_a_change_is_higher_than_the_one_before_though_the_clock_went_back(
    some: Hash, redis: Connection, prefix: str
) -> None:
    await some.made("", "a")
    ahead = (time.time() + 3_600) * 1_000_000
    await command(redis, "SET", f"{prefix}changed:some:one", f"{ahead:.0f}")
    old = await some.made("a", "b")
    newer = await some.made("b", "c")
    await some.fail_over("a")
    await newer.again()
    await old.again()
    assert await some.value() == "c"


async def test_one_without_a_reply_is_not_made_over_a_change_back(some: Hash) -> None:
    await some.made("", "a")
    await some.made("a", "b")
    await some.made("b", "a")
    await some.unanswered("a", "b").again()
    assert await some.value() == "a"


async def test_a_key_that_was_revoked_under_a_clock_that_went_back_does_not_come_back(
    some: Hash, redis: Connection, prefix: str
) -> None:
    version = f"{prefix}changed:some:one"
    await some.fail_over("key")
    await command(redis, "SET", version, f"{(time.time() + 60) * 1_000_000:.0f}")
    limited = await some.made("key", "limited", final=True)
    await some.fail_over("key")
    await some.made("key", "", final=True)
    await limited.again()
    assert await some.value() == ""
    await command(redis, "DEL", version)  # as after two minutes
    await limited.again()
    assert await some.value() == ""


@pytest.mark.parametrize("stored", ["key", "key with other limits"])
@pytest.mark.parametrize("sent", [True, False])
async def test_of_a_rotation_without_a_reply_both_steps_are_made_again_or_none(
    redis: Connection, prefix: str, stored: str, sent: bool
) -> None:
    fields = {"old": (b"key", b""), "new": (b"", b"new key")}
    change = FieldChange(redis, fields, hash="keys", prefix=prefix, final=True)
    await command(redis, "HSET", f"{prefix}keys", "old", "other" if not sent else stored)
    if sent:
        change.queue(redis.pipeline(), again=False)
    else:
        assert not await change.make()  # it was refused: the caller makes another
        await command(redis, "HSET", f"{prefix}keys", "old", stored)
    for _ in range(2):
        await change.again()
        found = await command(redis, "HGETALL", f"{prefix}keys")
        made = sent and stored == "key"
        assert found == ({b"new": b"new key"} if made else {b"old": stored.encode()})


async def test_a_change_of_a_bar_that_is_refused_is_not_made_after_a_failover(
    house: House,
) -> None:
    notes: list[Redo] = []
    house.parts.host.store.redis.recent.note = lambda redo, *of: notes.append(redo)  # type: ignore[method-assign]
    with pytest.raises(BadRequest):
        await house.parts.tenants.change("one", {"bar": {"similarity": 0.9}}, who="x" * 300)
    (again,) = notes
    await again()
    assert (await house.parts.tenants.stored("one")).own == {}


async def test_a_change_that_grew_old_while_others_were_made_again_is_not_made() -> None:
    @dataclass
    class Primary:
        generation: int = 0
        history: bytes = b"one"

    at, made, primary = [0.0], list[str](), Primary()
    recent = RecentChanges(primary, clock=lambda: at[0])

    async def first() -> None:
        made.append("first")
        at[0] = 100.0  # the process stood still

    async def second() -> None:
        made.append("second")

    recent.note(first)
    recent.note(second)
    primary.generation = 1
    await recent.redo()
    assert made == ["first"]
    assert not recent.due


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with cluster("valkey") as found:
        yield found


async def test_what_one_server_loosened_before_another_tightened_it_does_not_come_back(
    nodes: Nodes, tmp_path: Path
) -> None:
    store: dict[str, Any] = {"redis_url": nodes.url, "redis_replicas": 0, "store_wait_s": 0.25}
    async with (
        House.open(tmp_path / "0", **store) as one,
        House.open(tmp_path / "1", upstream=one.parts.host.settings.upstream, **store) as two,
    ):
        key = await one.key("one")
        limited, _ = await one.parts.tenants.create_key("one")
        answer = await one.ask("first", key=key)
        entry, now = answer.headers["x-cache-entry"], one.clock()
        last, may = two.parts.host.store.redis.recent, asyncio.Event()
        async with lost(nodes):
            one.parts.host.store.redis.recent.note(may.wait)  # its changes are made again last
            for house, similarity, requests, top_k, life_s in (
                (one, 0.5, 1_000, 9, 9_000),
                (two, 0.99, 1, 3, 600),
            ):
                parts = house.parts
                await parts.tenants.change("one", {"bar": {"similarity": similarity}})
                await parts.tenants.change_key(
                    limited.id, label=None, expires=True, expires_at=now + life_s
                )
                await parts.tenants.limit_key(limited.id, Limits(requests_per_minute=requests))
                await parts.host.live.settings.change({"top_k": top_k})
                deadlines = parts.entries.entries.deadlines
                assert await deadlines.set("one", entry, now + life_s, keep_s=0)
        ends = time.monotonic() + _WITHIN_S
        while not last.takeovers or last.due:
            assert time.monotonic() < ends
            await asyncio.sleep(0.01)
        may.set()
        while one.parts.host.store.redis.recent.unsure or last.unsure:
            assert time.monotonic() < ends
            await asyncio.sleep(0.01)
        one.parts.tenants.forget_all()
        assert (await one.parts.tenants.get("one")).bar.similarity == 0.99
        found = await one.parts.tenants.find_key(limited.id)
        assert (found.limits.requests_per_minute, found.expires_at) == (1, now + 600)
        stored = await command(one.parts.host.store.redis, "HGET", "{cs1:}live", "settings")
        assert stored == b'{"top_k":3}'
        kept = await one.parts.entries.entries.by_id("one", entry)
        assert kept is not None
        assert kept.expires_at == now + 600
