"""A store that is there and does not answer: a stopped process, a stuck disk, a lost network."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from cacheserver.embedded.store import EmbeddedStore
from cacheserver.storage import deadline
from cacheserver.storage.connection import command, connect
from cacheserver.storage.deadline import StoreHangs
from tests.hostile.raw import until
from tests.house import House, came_from
from tests.redis_servers import store
from tests.test_failures import swallowed

__all__ = ["store"]

# Far more than a request takes on a busy machine, so that who waited is told from who did not.
WAIT_S = 1.0
# Between that and the 8 s of a request with no deadline but those of the store's connections.
NOT_WAITED_S = 5.0


@contextmanager
def saturated(seconds: float) -> Iterator[None]:
    """Keep the event loop busy for so long in each of its turns."""
    loop = asyncio.get_running_loop()
    handles: list[asyncio.Handle] = []

    def burn() -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass
        handles[:] = [loop.call_soon(burn)]

    burn()
    try:
        yield
    finally:
        handles[0].cancel()


@contextmanager
def stopped(store: EmbeddedStore) -> Iterator[None]:
    pid = store.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def timed(house: House, text: str, **given: Any) -> tuple[float, str, str]:
    began = time.monotonic()
    kind, reason = came_from(await house.ask(text, **given))
    return time.monotonic() - began, kind, reason


@pytest.mark.parametrize("stream", [False, True])
async def test_a_store_that_hangs_is_waited_for_once(
    tmp_path: Path, store: EmbeddedStore, stream: bool
) -> None:
    url = await store.start()
    # What is in memory is served without the store for as long as a lease holds.
    settings: dict[str, Any] = {"redis_url": url, "store_wait_s": WAIT_S, "hot_bytes": 0}
    async with House.open(tmp_path / "data", **settings) as house:
        key = await house.key("one")
        for n in range(4):
            await timed(house, f"Question {n}?", key=key, stream=stream)
        with stopped(store):
            first = await asyncio.gather(
                *(timed(house, f"Question {n}?", key=key, stream=stream) for n in range(8))
            )
            assert max(seconds for seconds, _, _ in first) < NOT_WAITED_S
            assert {found[1:] for found in first} == {("miss", "degraded")}
            later = [
                await timed(house, f"Question {n}?", key=key, stream=stream) for n in range(20)
            ]
            assert {found[1:] for found in later} == {("miss", "degraded")}
            assert median(seconds for seconds, _, _ in later) < WAIT_S
            only = {"cache-control": "only-if-cached"}
            refused = await house.ask("Question 0?", key=key, stream=stream, headers=only)
            assert (refused.status_code, refused.headers["x-cache-reason"]) == (404, "degraded")
            assert refused.headers["x-should-retry"] == "false"
            ready = await house.http.get("/readyz")
            assert (ready.status_code, ready.json()["store"]) == (503, "away")
        assert "store-hangs" in await swallowed(house)
        await until(lambda: not store_hangs(house))
        for n in range(4):  # nothing of before is lost, and nothing fails on the way back
            assert (await timed(house, f"Question {n}?", key=key))[1] == "exact"
        await house.parts.ledger.flush()
        await house.parts.decision_log.flush()
        stats = (await house.http.get("/v1/stats", headers={"x-api-key": key})).json()
        assert (stats["requests"], stats["failed"]) == (4 + 8 + 20 + 1 + 4, 0)
        usage = (await house.http.get("/v1/usage", headers={"x-api-key": key})).json()
        assert usage["totals"]["requests"] == 4 + 8 + 20 + 1 + 4


def store_hangs(house: House) -> bool:
    return house.parts.ledger.redis.health.hangs


async def test_who_asks_for_more_than_an_answer_is_told_at_once(
    tmp_path: Path, store: EmbeddedStore
) -> None:
    """A tenant never seen, a budget that cannot be looked at, a job: refused, and not after 8 s."""
    url = await store.start()
    async with House.open(tmp_path / "data", redis_url=url, store_wait_s=0.25) as house:
        seen, unseen = await house.key("one"), await house.key("two")
        await timed(house, "Question?", key=seen)
        with stopped(store):
            began = time.monotonic()
            answers = await asyncio.gather(*(house.ask(key=unseen) for _ in range(4)))
            assert {a.status_code for a in answers} == {503}
            assert {a.headers["retry-after"] for a in answers} == {"1"}
            assert time.monotonic() - began < NOT_WAITED_S
        await until(lambda: not store_hangs(house))
        assert (await house.ask(key=unseen)).status_code == 200


async def test_a_purge_is_not_hurried(tmp_path: Path, store: EmbeddedStore) -> None:
    """What is not an answer waits as long as the store's own limit: it may be done all the same."""
    url = await store.start()
    async with House.open(tmp_path / "data", redis_url=url, store_wait_s=0.25) as house:
        await house.ask(headers={"x-cache-tags": "old"})
        with stopped(store):
            purge = asyncio.create_task(house.http.post("/v1/purge", json={"tag": "old"}))
            _, pending = await asyncio.wait({purge}, timeout=0.6)
            assert pending == {purge}
        assert (await purge).json() == {"purged": 1}


async def test_a_server_that_is_too_busy_to_read_does_not_take_its_store_for_hung(
    store: EmbeddedStore,
) -> None:
    """Each reply is there at once, and read only turns of 50 ms later."""
    redis = connect(await store.start())
    await command(redis, "PING")
    began = time.perf_counter()
    deadline.start(0.25)
    with saturated(0.05):
        for _ in range(6):
            assert await command(redis, "PING")
    deadline.clear()
    assert time.perf_counter() - began > 0.35  # as long as any wait of before
    assert not redis.health.hangs
    await redis.aclose()


async def test_a_store_that_hangs_is_seen_by_a_busy_server_too(store: EmbeddedStore) -> None:
    redis = connect(await store.start(), timeout_s=5)
    await command(redis, "PING")
    with stopped(store), saturated(0.01):
        deadline.start(0.05)
        with pytest.raises(StoreHangs):
            await redis.execute_command("PING")
        assert redis.health.hangs
    deadline.clear()
    await until(lambda: not redis.health.hangs)
    await redis.aclose()
