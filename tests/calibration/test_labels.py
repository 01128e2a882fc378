"""The contract of `Labels`, on every engine at hand: windows, scopes, and what holds for all."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.calibration.labels import LIFE_S, ONCE_S, Labels
from cacheserver.core.errors import StoreError
from cacheserver.matching.shrinkage import EntryRecord
from cacheserver.storage.connection import Connection, command, connect
from cacheserver.tenants.grace_cache import FRESH_S
from tests.calibration.label_stores import clock, elsewhere, labels
from tests.clock import Clock

__all__ = ["clock", "elsewhere", "labels"]

NEIGHBOURS = [("a", "b"), ("a:b", "a"), ("a", "1:a")]  # tenants that must never meet


async def numbers(labels: Labels, scope: str, tenant: str = "acme") -> list[int]:
    return [label["n"] for _, label in await labels.window(tenant, scope)]


# Windows of labels


async def test_labels_come_back_in_order_and_only_new_ones_when_asked_for(labels: Labels) -> None:
    label = {"x": [0.5, -1.0], "y": 1, "source": "audit", "embedder": "MiniLM", "é": None}
    first = await labels.add("acme", "s", label)
    assert await labels.window("acme", "s") == [(first, label)]
    assert await labels.window("acme", "s", after=first) == []
    ids = [await labels.add("acme", "s", {"n": n}) for n in range(5)]
    assert [one for one, _ in await labels.window("acme", "s", after=first)] == ids
    assert await labels.window("acme", "s", after=ids[1], limit=2) == [
        (ids[2], {"n": 2}),
        (ids[3], {"n": 3}),
    ]
    assert await labels.window("acme", "t") == []


async def test_a_full_window_drops_its_oldest_labels(redis: Connection, prefix: str) -> None:
    labels = Labels(redis, prefix=prefix, window=3)
    first = await labels.add("acme", "s", {"n": 0})
    for n in range(1, 6):
        await labels.add("acme", "s", {"n": n})
    assert await numbers(labels, "s") == [3, 4, 5]
    assert [row["n"] for _, row in await labels.window("acme", "s", after=first)] == [3, 4, 5]


async def test_a_window_holds_three_thousand_labels(labels: Labels) -> None:
    for _ in range(31):
        await asyncio.gather(*(labels.add("acme", "s", {"n": n}) for n in range(100)))
    assert len(await labels.window("acme", "s", limit=4_000)) == 3_000


async def test_several_servers_add_at_once_and_nothing_is_lost(
    labels: Labels, elsewhere: Labels
) -> None:
    servers = (labels, elsewhere)
    adding = [one.add("acme", "s", {"n": n}) for n in range(100) for one in servers]
    ids = await asyncio.gather(*adding)
    window = await labels.window("acme", "s")
    assert sorted(ids) == sorted(label_id for label_id, _ in window)
    assert len(set(ids)) == 200
    assert sorted(label["n"] for _, label in window) == sorted([*range(100), *range(100)])


async def test_a_label_told_twice_is_added_once_in_its_scope(
    labels: Labels, elsewhere: Labels, redis: Connection, prefix: str
) -> None:
    first = await labels.add("acme", "s", {"n": 1}, once="d1")
    assert await elsewhere.add("acme", "s", {"n": 2}, once="d1") == first
    await labels.add("acme", "s", {"n": 3}, once="d2")
    await labels.add("acme", "t", {"n": 4}, once="d1")
    await labels.add("beta", "s", {"n": 5}, once="d1")
    assert await numbers(labels, "s") == [1, 3]
    assert await numbers(labels, "t") == [4]
    assert await numbers(labels, "s", "beta") == [5]
    for key in await command(redis, "KEYS", f"{prefix}once:*"):
        assert ONCE_S - 10 < await command(redis, "TTL", key) <= ONCE_S


@dataclass
class Model:
    """Windows that know nothing of Redis."""

    window: int
    labels: int
    scopes: int
    held: dict[str, list[int]] = field(default_factory=dict)  # the longest idle scope first

    def add(self, scope: str, n: int) -> None:
        rows = self.held.pop(scope, [])
        self.held[scope] = [*rows, n][-self.window :]
        while len(self.held) > 1 and (
            len(self.held) > self.scopes or sum(map(len, self.held.values())) > self.labels
        ):
            del self.held[next(iter(self.held))]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    added=st.lists(st.sampled_from("stuvw"), max_size=30),
    window=st.integers(1, 4),
    most=st.integers(4, 10),
    scopes=st.integers(1, 4),
)
async def test_whatever_is_added_a_tenant_keeps_the_last_labels_of_its_last_scopes(
    url: str, added: list[str], window: int, most: int, scopes: int
) -> None:
    prefix, clock = f"{uuid.uuid4().hex}:", Clock()
    client = connect(url)
    labels = Labels(client, prefix=prefix, window=window, labels=most, scopes=scopes, now=clock)
    model = Model(window, most, scopes)
    for n, scope in enumerate(added):
        clock.time += 1
        await labels.add("acme", scope, {"n": n})
        model.add(scope, n)
        assert await labels.scopes("acme") == sorted(model.held)
        for one in "stuvw":
            assert await numbers(labels, one) == model.held.get(one, [])
        total = await command(client, "HGET", f"{prefix}sizes:4:acme", "total")
        assert int(total) == sum(map(len, model.held.values()))
    streams = await command(client, "KEYS", f"{prefix}labels:*")
    assert len(streams) == len(model.held)
    await client.aclose()


# Scopes


async def test_a_tenants_scopes_are_those_with_labels_or_a_state(labels: Labels) -> None:
    assert await labels.scopes("acme") == []
    await labels.add("acme", "both", {})
    await labels.save_state("acme", "both", b"x", version=0)
    await labels.save_state("acme", "state", b"x", version=0)
    await labels.add("acme", "label", {})
    await labels.add("beta", "other", {})
    assert await labels.scopes("acme") == ["both", "label", "state"]


async def test_all_states_of_a_tenant_are_forgotten_and_no_other(
    labels: Labels, redis: Connection, prefix: str
) -> None:
    empty = await command(redis, "HGET", f"{prefix}learnedbytes", "total")
    for scope in ("one", "two"):
        await labels.save_state("acme", scope, b"x", version=0)
    await labels.save_state("beta", "one", b"y", version=0)
    of_beta = await labels.state("beta", "one")
    await labels.forget_states("acme")
    assert await labels.scopes("acme") == []
    assert await labels.state("acme", "one") == (None, 0)
    assert await labels.state("beta", "one") == of_beta
    await labels.forget_states("beta")
    left = await command(redis, "HGET", f"{prefix}learnedbytes", "total")
    assert int(left) == int(empty or 0)
    assert await command(redis, "ZCARD", f"{prefix}learned") == 0


async def test_beyond_its_bound_the_state_saved_longest_ago_begins_again(
    redis: Connection, prefix: str, clock: Clock
) -> None:
    labels = Labels(redis, prefix=prefix, scopes=2, clock=clock, now=clock)
    for scope in ("one", "two"):
        clock.time += 10
        assert await labels.save_state("acme", scope, b"1", version=0)
    clock.time += 10
    _, version = await labels.state("acme", "one")
    assert await labels.save_state("acme", "one", b"2", version=version)
    clock.time += 10
    assert await labels.save_state("acme", "three", b"1", version=0)
    assert await labels.scopes("acme") == ["one", "three"]
    clock.time += FRESH_S
    assert await labels.state("acme", "two") == (None, 0)
    assert await command(redis, "EXISTS", f"{prefix}calib:4:acme:two") == 0


async def test_what_a_server_with_a_slow_clock_adds_is_kept(
    redis: Connection, prefix: str, clock: Clock
) -> None:
    slow = Clock(clock.time - LIFE_S - 1)
    others = Labels(redis, prefix=prefix, labels=3, scopes=2, now=clock)
    labels = Labels(redis, prefix=prefix, labels=3, scopes=2, now=slow)
    for scope in ("one", "two"):
        clock.time += 1
        await others.add("acme", scope, {"n": 1})
        assert await others.save_state("acme", scope, b"1", version=0)
    for n in (2, 3):
        await labels.add("acme", "three", {"n": n})
    assert await labels.save_state("acme", "three", b"3", version=0)
    assert await numbers(labels, "three") == [2, 3]
    assert (await labels.state("acme", "three"))[0] == b"3"
    assert await numbers(labels, "one") == []
    assert await numbers(labels, "two") == [1]
    assert await labels.state("acme", "one") == (None, 0)


async def test_a_scope_nothing_was_learned_of_for_long_is_forgotten(
    labels: Labels, redis: Connection, prefix: str, clock: Clock
) -> None:
    await labels.add("acme", "old", {"n": 1})
    await labels.save_state("acme", "old", b"x", version=0)
    clock.time += 1
    await labels.add("acme", "young", {"n": 2})
    clock.time += LIFE_S - 1
    assert await labels.scopes("acme") == ["young"]
    await labels.add("acme", "new", {"n": 3})
    await labels.save_state("acme", "new", b"x", version=0)
    assert await labels.scopes("acme") == ["new", "young"]
    assert await numbers(labels, "old") == []
    assert await numbers(labels, "young") == [2]
    assert await labels.state("acme", "old") == (None, 0)


async def test_all_that_was_learned_dies_by_itself(
    labels: Labels, redis: Connection, prefix: str
) -> None:
    await labels.add("acme", "s", {}, once="x")
    await labels.save_state("acme", "s", b"x", version=0)
    await labels.tombstones.add("acme", "q", "e", life_s=60)
    await labels.adjust("acme", "g", wrong=1, right=0, life_s=60)
    assert await labels.spend("acme", "audit", 1, cap=1, period_s=60, now=0)
    keys = await command(redis, "KEYS", f"{prefix}*")
    assert len(keys) == 12
    for key in keys:
        assert 0 < await command(redis, "TTL", key) <= LIFE_S, key


# Isolation, bounds and failures


@pytest.mark.parametrize(("tenant", "other"), NEIGHBOURS)
async def test_no_tenant_sees_what_another_one_learned(
    labels: Labels, tenant: str, other: str
) -> None:
    await labels.save_state(tenant, "s", b"x", version=0)
    await labels.add(tenant, "s", {"n": 1})
    await labels.tombstones.add(tenant, "q", "e", life_s=60)
    await labels.adjust(tenant, "g", wrong=1, right=1, life_s=60)
    for scope in ("s", "b:s", "a:s", "1:a:s"):
        assert await labels.state(other, scope) == (None, 0)
        assert await labels.window(other, scope) == []
        past = await labels.past(other, "q", [("e", "g"), (scope, "g")])
        assert set(past.values()) == {EntryRecord(False, (0, 0), (0, 0))}
    assert await labels.scopes(other) == []


async def test_what_is_too_large_or_no_json_is_refused(labels: Labels) -> None:
    with pytest.raises(StoreError, match="too large"):
        await labels.add("acme", "s", {"x": "y" * 5_000})
    with pytest.raises(StoreError, match="not JSON") as refused:
        await labels.add("acme", "s", {"secret": object()})
    assert "secret" not in str(refused.value)
    with pytest.raises(StoreError, match="too large"):
        await labels.save_state("acme", "s", b"x" * 200_000, version=0)
    with pytest.raises(StoreError, match="finite"):
        await labels.adjust("acme", "g", wrong=float("nan"), right=0, life_s=60)
    for amount in (-1, 2**60):
        with pytest.raises(StoreError, match="nanodollars"):
            await labels.spend("acme", "audit", amount, cap=2**62, period_s=60, now=0)
        with pytest.raises(StoreError, match="nanodollars"):
            await labels.refund("acme", "audit", amount, period_s=60, now=0)
    with pytest.raises(StoreError, match="not the id"):
        await labels.window("acme", "s", after="- +")
    assert await labels.scopes("acme") == []


async def test_with_the_store_away_nothing_is_made_up(tmp_path: Path, clock: Clock) -> None:
    client = connect(f"unix://{tmp_path}/nobody.sock")
    labels = Labels(client, clock=clock, now=clock)
    for asked in (
        labels.state("acme", "s"),
        labels.save_state("acme", "s", b"x", version=0),
        labels.add("acme", "s", {}),
        labels.window("acme", "s"),
        labels.scopes("acme"),
        labels.tombstones.add("acme", "q", "e", life_s=1),
        labels.past("acme", "q", [("e", "g")]),
        labels.adjust("acme", "e", wrong=1, right=0),
        labels.spend("acme", "audit", 1, cap=1, period_s=60, now=0),
        labels.refund("acme", "audit", 1, period_s=60, now=0),
        labels.spent("acme", "audit", period_s=60, now=0),
    ):
        with pytest.raises(StoreError):
            await asked
    await client.aclose()
