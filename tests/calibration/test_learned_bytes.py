"""The bytes that labels and calibration states take: counted as they are written, and bounded."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.calibration.labels import LIFE_S, Labels
from cacheserver.storage.connection import Connection, command, connect
from tests.clock import Clock

TENANTS = ("a", "b 1 labels", "é")


async def accounts(redis: Connection, prefix: str) -> tuple[dict[str, int], int]:
    """What is counted by name, and the total that is kept beside."""
    found = await command(redis, "HGETALL", f"{prefix}learnedbytes")
    counted = {name.decode(): int(size) for name, size in found.items()}
    return counted, counted.pop("total", 0)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(TENANTS), st.sampled_from("stu"), st.booleans(), st.integers(0, 800)
        ),
        max_size=40,
    ),
    most=st.integers(2_000, 6_000),
)
async def test_the_total_is_that_of_what_is_there_and_within_its_bound(
    url: str, steps: list[tuple[str, str, bool, int]], most: int
) -> None:
    prefix, clock = f"{uuid.uuid4().hex}:", Clock()
    redis = connect(url)
    labels = Labels(redis, prefix=prefix, window=4, scopes=2, max_bytes=most, now=clock)
    for tenant, scope, is_label, size in steps:
        clock.time += 1
        if is_label:
            await labels.add(tenant, scope, {"x": "y" * size})
        else:
            key = f"{prefix}calib:{len(tenant)}:{tenant}:{scope}"
            kept = await command(redis, "GETRANGE", key, 0, 15)
            await labels.save_state(tenant, scope, b"y" * size, version=int(kept or 0))
        counted, total = await accounts(redis, prefix)
        there = [
            key
            for kind in ("labels", "calib")
            for key in await command(redis, "KEYS", f"{prefix}{kind}:*")
        ]
        assert total == sum(counted.values())
        assert total <= most or len(counted) == 1  # the one that was just written is kept
        assert len(there) == len(counted) > 0
        assert await command(redis, "ZCARD", f"{prefix}learned") == len(counted)
    await redis.aclose()


async def test_the_scope_without_a_label_for_longest_begins_anew(
    redis: Connection, prefix: str
) -> None:
    clock = Clock()
    labels = Labels(redis, prefix=prefix, max_bytes=20_000, clock=clock, now=clock)
    for tenant in ("one", "two", "three"):
        for n in range(10):
            clock.time += 1
            await labels.add(tenant, "s", {"n": n, "x": "y" * 600})
    assert [len(await labels.window(tenant, "s")) for tenant in ("one", "two", "three")] == [
        10, 10, 10,
    ]  # fmt: skip
    for n in range(10):
        clock.time += 1
        await labels.add("two", "s", {"n": n, "x": "y" * 600})
    assert [len(await labels.window(tenant, "s")) for tenant in ("one", "two", "three")] == [
        0, 20, 10,
    ]  # fmt: skip
    assert await labels.scopes("one") == []


async def test_what_is_counted_is_what_the_store_takes(redis: Connection, prefix: str) -> None:
    clock = Clock()
    labels = Labels(redis, prefix=prefix, window=500, clock=clock, now=clock)
    before = int((await redis.info("memory"))["used_memory"])
    for n in range(2_000):
        await labels.add("acme", f"scope{n % 3}", {"n": n, "x": "y" * (n % 600 + 100)})
    taken = int((await redis.info("memory"))["used_memory"]) - before
    assert (await accounts(redis, prefix))[1] == pytest.approx(taken, rel=0.15)


async def test_what_has_died_by_itself_is_counted_no_more(redis: Connection, prefix: str) -> None:
    clock = Clock()
    labels = Labels(redis, prefix=prefix, clock=clock, now=clock)
    await labels.add("one", "s", {"x": "y" * 600})
    await command(redis, "DEL", f"{prefix}labels:3:one:s")
    clock.time += LIFE_S + 1
    await labels.add("two", "s", {})
    assert list((await accounts(redis, prefix))[0]) == ["5 3:two labels s"]
