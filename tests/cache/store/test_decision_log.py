from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cacheserver.cache.store.decision_log import DECISION_S, NEAR, DecisionLog
from cacheserver.core.errors import StoreError
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.storage.connection import Connection, command, connect
from tests.redis_servers import losing_replies

HIT = {"kind": "exact", "reason": "fresh"}


@pytest.fixture
async def decision_log(redis: Connection, prefix: str) -> AsyncIterator[DecisionLog]:
    one = DecisionLog(redis, prefix=prefix)
    yield one
    await one.close()


async def test_a_decision_is_there_at_once_and_after_it_was_written(
    decision_log: DecisionLog,
) -> None:
    decision_log.record("acme", "d1", HIT, {})
    assert await decision_log.decision("acme", "d1") == HIT
    await decision_log.flush()
    assert await decision_log.decision("acme", "d1") == HIT
    assert await decision_log.decision("acme", "d2") is None


async def test_a_record_is_written_without_anybody_waiting_for_it(
    decision_log: DecisionLog, redis: Connection, prefix: str
) -> None:
    decision_log.record("acme", "d1", HIT, {"requests": 1})
    while not await command(redis, "EXISTS", f"{prefix}d:4:acme:d1"):
        pass
    assert await command(redis, "HGET", f"{prefix}stats:acme", "requests") == b"1"


async def test_a_decision_lives_for_a_day(
    decision_log: DecisionLog, redis: Connection, prefix: str
) -> None:
    decision_log.record("acme", "d1", HIT, {})
    await decision_log.flush()
    assert DECISION_S - 10 < await command(redis, "TTL", f"{prefix}d:4:acme:d1") <= DECISION_S


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize(
    ("tenant", "other", "asked"), [("a", "b", "d"), ("a:b", "a", "b:d"), ("a", "1:a", "d")]
)
async def test_no_tenant_sees_anothers_decision(
    decision_log: DecisionLog, tenant: str, other: str, asked: str, written: bool
) -> None:
    decision_log.record(tenant, "d", HIT, {})
    if written:
        await decision_log.flush()
    assert await decision_log.decision(other, asked) is None


async def test_a_later_record_of_an_id_replaces_the_earlier_one(decision_log: DecisionLog) -> None:
    decision_log.record("acme", "d1", {"cost": None}, {"requests": 1})
    decision_log.record("acme", "d1", {"cost": 1}, {"cost": 1})
    assert await decision_log.decision("acme", "d1") == {"cost": 1}
    await decision_log.flush()
    decision_log.record("acme", "d1", {"cost": 2}, {})
    assert await decision_log.decision("acme", "d1") == {"cost": 2}
    await decision_log.flush()
    assert await decision_log.decision("acme", "d1") == {"cost": 2}
    assert await decision_log.stats("acme") == {"requests": 1, "cost": 1}


async def test_statistics_are_the_sums_of_all_that_was_recorded(
    redis: Connection, prefix: str
) -> None:
    one, other = DecisionLog(redis, prefix=prefix), DecisionLog(redis, prefix=prefix)
    for number in range(500):
        one.record("acme", f"a{number}", HIT, {"requests": 1, "saved": number})
        other.record("beta", f"b{number}", HIT, {"requests": 1, "saved": -1})
        if number % 50 == 0:
            await one.flush()
    assert await one.stats("acme") == {"requests": 500, "saved": sum(range(500))}
    assert await other.stats("beta") == {"requests": 500, "saved": -500}
    assert await one.stats(None) == {"requests": 1_000, "saved": sum(range(500)) - 500}
    assert await one.stats("nobody") == {}
    await one.close()
    await other.close()


async def test_closing_writes_what_is_left_and_takes_no_more(
    redis: Connection, prefix: str
) -> None:
    decision_log = DecisionLog(redis, prefix=prefix)
    for number in range(3_000):
        decision_log.record("acme", f"d{number}", HIT, {"requests": 1})
    await decision_log.close()
    await decision_log.close()
    decision_log.record("acme", "late", HIT, {"requests": 1})
    assert decision_log.overflowed == 1
    reader = DecisionLog(redis, prefix=prefix)
    assert await reader.stats("acme") == {"requests": 3_000}
    assert await reader.decision("acme", "d2999") == HIT
    assert await reader.decision("acme", "late") is None
    await reader.close()


async def test_while_the_store_is_away_the_buffer_is_bounded_and_the_loss_counted(
    tmp_path: Path,
) -> None:
    client = connect(f"unix://{tmp_path}/nobody.sock")
    decision_log = DecisionLog(client, limit=10)
    for number in range(25):
        decision_log.record(f"t{number}", f"d{number}", HIT, {"requests": 1})
    assert decision_log.overflowed == 15 + 5  # decisions, and the counts of their tenants
    assert await decision_log.decision("t24", "d24") == HIT
    with pytest.raises(StoreError):
        await decision_log.flush()
    with pytest.raises(StoreError):
        await decision_log.stats(None)
    with pytest.raises(StoreError):
        await decision_log.decision("t0", "d0")
    assert decision_log.failures > 0
    await decision_log.close(patience_s=0)
    assert decision_log.overflowed == 15 + 5 + 10
    await client.aclose()


async def test_what_was_recorded_while_the_store_was_away_is_written_once_when_it_is_back(
    tmp_path: Path,
) -> None:
    store = EmbeddedStore(tmp_path)
    client = connect(await store.start())
    decision_log = DecisionLog(client)
    decision_log.record("acme", "d1", HIT, {"requests": 1})
    await decision_log.flush()
    await store.stop()
    decision_log.record("acme", "d2", HIT, {"requests": 1})
    with pytest.raises(StoreError):
        await decision_log.stats("acme")
    decision_log.record("acme", "d3", HIT, {"requests": 1})
    assert await decision_log.decision("acme", "d2") == HIT
    await store.start()
    assert await decision_log.stats("acme") == {"requests": 3}
    for decision_id in ("d1", "d2", "d3"):
        assert await decision_log.decision("acme", decision_id) == HIT
    await decision_log.close()
    await client.aclose()
    await store.stop()


@pytest.mark.parametrize("folded", [False, True])
async def test_a_batch_whose_answer_was_lost_counts_once(
    url: str, redis: Connection, prefix: str, tmp_path: Path, folded: bool
) -> None:
    """A proxy that hangs up after the store has done what the first batch says."""
    seen: list[bytes] = []

    def lost(words: bytes, reply: bytes) -> bool:
        if b"RPUSH" in words:
            seen.append(words)
        return b"RPUSH" in words and len(seen) == 1

    async with losing_replies(url, tmp_path / "proxy.sock", lost) as proxy:
        client = connect(proxy)
        decision_log = DecisionLog(client, prefix=prefix)
        decision_log.record("acme", "d1", HIT, {"requests": 1})
        decision_log.count("acme", {"feedback_good": 1})
        with pytest.raises(StoreError):
            await decision_log.flush()
        assert len(seen) == 1
        if folded:
            other = DecisionLog(redis, prefix=prefix)
            assert await other.stats("acme") == {"requests": 1, "feedback_good": 1}
            await other.close()
        await decision_log.flush()
        assert await decision_log.stats("acme") == {"requests": 1, "feedback_good": 1}
        assert await decision_log.decision("acme", "d1") == HIT
        await decision_log.close()
        await client.aclose()


async def test_what_a_killed_server_wrote_is_found_and_counts(
    redis: Connection, prefix: str
) -> None:
    killed, other = DecisionLog(redis, prefix=prefix), DecisionLog(redis, prefix=prefix)
    await command(redis, "RPUSH", f"{prefix}dp", b"not a record", b'["4:acme:d0"]\n{}')
    killed.record("acme", "d1", near(1), {"requests": 1})
    while (await command(redis, "LLEN", f"{prefix}dp")) < 3:
        pass
    assert 0 < await command(redis, "TTL", f"{prefix}dp") <= DECISION_S
    assert await other.decision("acme", "d1") == near(1)
    assert await numbers(other) == [1]
    assert await other.stats("acme") == {"requests": 1}
    await killed.close()
    await other.close()


async def test_a_decision_json_cannot_hold_is_lost_alone(decision_log: DecisionLog) -> None:
    decision_log.record("acme", "bad", {"value": object()}, {"requests": 1})
    decision_log.record("acme", "good", HIT, {"requests": 1})
    assert await decision_log.stats("acme") == {"requests": 2}
    assert await decision_log.decision("acme", "good") == HIT
    assert await decision_log.decision("acme", "bad") is None
    assert decision_log.overflowed == 1


def near(number: int, kind: str = "miss", similarity: float | None = 0.9) -> dict[str, Any]:
    return {"id": number, "decision": {"kind": kind, "similarity": similarity}}


async def numbers(decision_log: DecisionLog, tenant: str = "acme") -> list[int]:
    return [one["id"] for one in await decision_log.near(tenant)]


async def test_the_last_decisions_that_turned_on_a_similarity_are_listed_newest_first(
    decision_log: DecisionLog,
) -> None:
    assert await numbers(decision_log) == []
    kinds = [("miss", 0.9), ("semantic", 1.0), ("exact", 1.0), ("miss", None), ("bypass", None)]
    for number, (kind, similarity) in enumerate(kinds):
        decision_log.record("acme", f"d{number}", near(number, kind, similarity), {})
        decision_log.record("beta", f"d{number}", HIT, {})
    assert await numbers(decision_log) == [1, 0]
    assert await numbers(decision_log, "beta") == []
    decision_log.record("acme", "d0", near(0), {})  # again, under its id
    decision_log.record("acme", "d9", near(9), {})
    assert await numbers(decision_log) == [9, 0, 1]
    decision_log.record("acme", "d5", near(5), {})
    decision_log.record("acme", "d5", HIT, {})  # what replaces it did not turn on one
    assert await numbers(decision_log) == [9, 0, 1]


async def test_no_more_of_them_are_listed_than_a_bar_is_tried_on(
    decision_log: DecisionLog, redis: Connection, prefix: str
) -> None:
    for number in range(NEAR + 5):
        decision_log.record("acme", f"d{number}", near(number), {})
    assert await numbers(decision_log) == [*range(NEAR + 4, 4, -1)]
    assert await command(redis, "LLEN", f"{prefix}near:4:acme") == NEAR
    assert 0 < await command(redis, "TTL", f"{prefix}near:4:acme") <= DECISION_S


async def test_a_decision_that_has_gone_is_left_out(
    decision_log: DecisionLog, redis: Connection, prefix: str
) -> None:
    for number in range(3):
        decision_log.record("acme", f"d{number}", near(number), {})
    await decision_log.flush()
    await command(redis, "DEL", f"{prefix}d:4:acme:d1")
    assert await numbers(decision_log) == [2, 0]


async def held(redis: Connection, prefix: str) -> tuple[int, int]:
    """The bytes that are counted, and how many decisions there are."""
    counted = int(await command(redis, "GET", f"{prefix}db") or 0)
    return counted, len(await command(redis, "KEYS", f"{prefix}d:*"))


async def test_beyond_the_most_bytes_the_oldest_decisions_go(
    redis: Connection, prefix: str
) -> None:
    decision_log = DecisionLog(redis, prefix=prefix, max_bytes=100_000)
    for number in range(300):
        decision_log.record(
            f"t{number % 3}", f"d{number}", {"x": "y" * (number % 2_000)}, {"all": 1}
        )
        if number % 20 == 0:
            await decision_log.flush()
            assert (await held(redis, prefix))[0] <= 100_000
    assert (await decision_log.stats(None))["all"] == 300
    there = [
        number
        for number in range(300)
        if await decision_log.decision(f"t{number % 3}", f"d{number}")
    ]
    assert there == list(range(there[0], 300))
    assert decision_log.crowded_out == there[0] > 0
    bytes_held, count = await held(redis, prefix)
    assert count == len(there)
    assert 98_000 < bytes_held <= 100_000
    await decision_log.close()


async def test_what_is_counted_is_what_the_store_takes(redis: Connection, prefix: str) -> None:
    decision_log = DecisionLog(redis, prefix=prefix)
    before = int((await redis.info("memory"))["used_memory"])
    for number in range(5_000):
        decision_log.record("acme", f"dec_{number:032x}", {"x": "y" * 1_000}, {})
    await decision_log.flush()
    taken = int((await redis.info("memory"))["used_memory"]) - before
    assert (await held(redis, prefix))[0] == pytest.approx(taken, rel=0.1)
    await decision_log.close()


async def test_decisions_whose_day_is_over_are_counted_no_more(
    redis: Connection, prefix: str
) -> None:
    decision_log = DecisionLog(redis, prefix=prefix, max_bytes=1_000_000)
    now = int((await command(redis, "TIME"))[0])
    # As if they had been written a day ago: they have died by themselves meanwhile.
    for age in (DECISION_S + 1, DECISION_S, DECISION_S - 60):
        await command(redis, "RPUSH", f"{prefix}dq", f"{now - age} 500 {prefix}d:4:acme:old{age}")
    await command(redis, "SET", f"{prefix}db", 1_500)
    decision_log.record("acme", "new", HIT, {})
    await decision_log.flush()
    assert await command(redis, "LLEN", f"{prefix}dq") == 2
    assert decision_log.crowded_out == 0
    assert 500 < (await held(redis, prefix))[0] < 1_000
    await decision_log.close()
