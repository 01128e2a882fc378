"""The contract of `Bars`, on every engine at hand."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import asdict
from pathlib import Path

import orjson
import pytest

from cacheserver.calibration.bars import BarChange, Bars, Level
from cacheserver.core.errors import BadRequest, StoreError
from cacheserver.storage.connection import Connection, command, connect

TARGET = {"target": 0.01, "top_k": 5, "vetoes": {"numbers": True}}
EXACT = {"exact_only": True, "vetoes": {}}


@pytest.fixture
def bars(redis: Connection, prefix: str) -> Bars:
    return Bars(redis, prefix=prefix)


@pytest.fixture
def elsewhere(redis: Connection, prefix: str) -> Bars:
    """Another server on the same store."""
    return Bars(redis, prefix=prefix)


async def test_another_server_knows_what_was_set_before(bars: Bars, elsewhere: Bars) -> None:
    await bars.set("acme", "tenant", "", TARGET, who="root", now=1)
    await bars.set("acme", "namespace", "s:x", EXACT, who="root", now=2)
    await bars.set("acme", "scope", "f00", {"similarity": 0.97}, who="root", now=3)
    places: list[tuple[Level, str]] = [("tenant", ""), ("namespace", "s:x"), ("scope", "f00")]
    changes = [
        await elsewhere.set("acme", level, name, None, who="root", now=4) for level, name in places
    ]
    assert [change.before for change in changes] == [TARGET, EXACT, {"similarity": 0.97}]


async def test_a_bar_that_is_removed_holds_no_more(bars: Bars) -> None:
    await bars.set("acme", "scope", "f00", EXACT, who="root", now=1)
    change = await bars.set("acme", "scope", "f00", None, who="root", now=2)
    assert (change.before, change.after) == (EXACT, None)
    again = await bars.set("acme", "scope", "f00", None, who="root", now=3)
    assert (again.before, again.after) == (None, None)


async def test_a_change_says_who_and_when_and_what_was_before_and_is_recorded(bars: Bars) -> None:
    first = await bars.set("acme", "tenant", "", TARGET, who="Zoë", now=1_234.5)
    second = await bars.set("acme", "tenant", "", {}, who="key 7", now=1_235.25)
    third = await bars.set("acme", "namespace", "support", EXACT, who="key 7", now=1_236)
    assert first == BarChange(first.id, 1_234.5, "Zoë", "tenant", "", None, TARGET)
    assert second == BarChange(second.id, 1_235.25, "key 7", "tenant", "", TARGET, {})
    assert third == BarChange(third.id, 1_236, "key 7", "namespace", "support", None, EXACT)
    assert await bars.history("acme") == [third, second, first]
    assert await bars.history("acme", 2) == [third, second]
    assert await bars.history("beta") == []
    assert orjson.loads(orjson.dumps(asdict(first)))["after"] == TARGET


async def test_of_changes_made_at_once_each_begins_where_another_ended(
    bars: Bars, elsewhere: Bars
) -> None:
    async def change(server: Bars, n: int) -> BarChange:
        return await server.set("acme", "tenant", "", {"n": n}, who=f"{n}", now=n)

    servers = (bars, elsewhere)
    changes = await asyncio.gather(*(change(servers[n % 2], n) for n in range(40)))
    history = await bars.history("acme")
    assert sorted(one.id for one in history) == sorted(one.id for one in changes)
    for later, earlier in itertools.pairwise(history):
        assert later.before == earlier.after
    last = await elsewhere.set("acme", "tenant", "", None, who="root", now=41)
    assert last.before == history[0].after


async def test_a_tenant_has_only_so_many_bars_and_changes(redis: Connection, prefix: str) -> None:
    bars = Bars(redis, prefix=prefix, most=2, changes=3)
    for name in ("one", "two"):
        await bars.set("acme", "scope", name, EXACT, who="root", now=1)
    with pytest.raises(BadRequest, match="2 bars"):
        await bars.set("acme", "scope", "three", EXACT, who="root", now=2)
    assert len(await bars.history("acme")) == 2
    await bars.set("acme", "scope", "one", TARGET, who="root", now=3)  # in the place it has
    await bars.set("acme", "scope", "two", None, who="root", now=4)
    await bars.set("acme", "scope", "three", EXACT, who="root", now=5)
    with pytest.raises(BadRequest, match="2 bars"):
        await bars.set("acme", "scope", "four", EXACT, who="root", now=6)
    assert [change.at for change in await bars.history("acme")] == [5, 4, 3]


@pytest.mark.parametrize(("tenant", "other"), [("a", "b"), ("a:b", "a"), ("a", "1:a")])
async def test_no_tenant_sees_anothers_bars(bars: Bars, tenant: str, other: str) -> None:
    await bars.set(tenant, "tenant", "", EXACT, who="root", now=1)
    assert await bars.history(other) == []
    assert (await bars.set(other, "tenant", "", TARGET, who="root", now=2)).before is None


async def test_what_will_not_do_is_refused_and_named(bars: Bars) -> None:
    with pytest.raises(BadRequest, match="`level`"):
        await bars.set("acme", "planet", "", EXACT, who="root", now=1)  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="`name`"):
        await bars.set("acme", "tenant", "x", EXACT, who="root", now=1)
    for name in ("", "x" * 201, "a\nb"):
        with pytest.raises(BadRequest, match="`name`"):
            await bars.set("acme", "scope", name, EXACT, who="root", now=1)
    for who in ("x" * 201, "a\nb"):
        with pytest.raises(BadRequest, match="`who`"):
            await bars.set("acme", "tenant", "", EXACT, who=who, now=1)
    with pytest.raises(StoreError, match="too large"):
        await bars.set("acme", "tenant", "", {"x": "y" * 5_000}, who="root", now=1)
    assert await bars.history("acme") == []


async def test_bars_that_make_no_sense_are_an_error(
    bars: Bars, redis: Connection, prefix: str
) -> None:
    await command(redis, "HSET", f"{prefix}bars:4:acme", "tenant", "[1]")
    with pytest.raises(StoreError, match="damaged"):
        await bars.set("acme", "tenant", "", EXACT, who="root", now=1)


async def test_with_the_store_away_what_was_set_is_not_told(tmp_path: Path) -> None:
    client = connect(f"unix://{tmp_path}/nobody.sock")
    bars = Bars(client)
    with pytest.raises(StoreError):
        await bars.set("acme", "tenant", "", EXACT, who="root", now=1)
    with pytest.raises(StoreError):
        await bars.history("acme")
    await client.aclose()
