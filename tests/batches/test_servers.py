"""Several servers over one Redis: one works at a time, and what it does is done once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cacheserver.batches.jobs import Job, Jobs, new_id
from cacheserver.batches.pending_rows import PendingRows
from cacheserver.batches.work_queue import FinishedItem, Waiter, WorkQueue
from cacheserver.core.errors import StoreError
from cacheserver.embedded.process import find_server
from cacheserver.ledger.writer import Ledger
from cacheserver.observability.metrics import Metrics
from cacheserver.storage import stored_row
from cacheserver.storage.connection import Connection
from tests.batches.house import QUICK, BatchHouse, item
from tests.ledger.rows import row
from tests.ledger.test_writer import kept as kept_rows
from tests.redis_servers import prefix, redis, serving, url

__all__ = ["prefix", "redis", "url"]  # fixtures


async def opened(redis: Connection, prefix: str) -> tuple[Jobs, Job]:
    jobs = Jobs(redis, prefix=prefix)
    job = Job(new_id("batch"), "batch", "shop", 1_000.0, total=2)
    await jobs.create(job, [("a", b"{}"), ("b", b"{}")], keep_s=3_600)
    return jobs, job


async def test_two_servers_answer_each_item_once(tmp_path: Path) -> None:
    with serving(find_server()) as shared:
        async with (
            BatchHouse.start(tmp_path / "one", redis_url=shared) as one,
            BatchHouse.start(tmp_path / "two", redis_url=shared) as two,
        ):
            made = []
            for n, house in enumerate([one, two, one, two]):
                requests = [item(f"r{m}", f"Tell me of {n} and {m}.") for m in range(5)]
                answer = await house.http.post("/v1/messages/batches", json={"requests": requests})
                made.append(answer.json()["id"])
            await asyncio.gather(*(two.ended(id) for id in made))
            sent = [len(batch) for house in (one, two) for batch in house.sent]
            assert sum(sent) == 20
            assert [] in (one.sent, two.sent)  # one of the two did all the work


async def test_the_next_server_takes_over_what_one_leaves(tmp_path: Path) -> None:
    with serving(find_server()) as shared:
        async with BatchHouse.start(tmp_path / "two", redis_url=shared) as two:
            async with BatchHouse.start(tmp_path / "one", redis_url=shared) as one:
                answer = await one.http.post("/v1/messages/batches", json={"requests": [item("a")]})
            ended = await two.ended(answer.json()["id"])
            assert ended["counts"]["succeeded"] == 1
            assert len(one.sent) + len(two.sent) == 1


async def test_a_server_that_lost_its_lease_changes_nothing(redis: Connection, prefix: str) -> None:
    jobs, job = await opened(redis, prefix)
    held_up, next_one = WorkQueue(redis, prefix=prefix), WorkQueue(redis, prefix=prefix)
    assert await held_up.take(60)
    assert not await next_one.take(60)
    await redis.delete(f"{prefix}bt:lease")  # it has run out
    assert await next_one.take(60)
    told = FinishedItem(Waiter(job.id, 0, "same"), "succeeded", b"{}", "acme")
    with pytest.raises(StoreError, match="FENCED"):
        await held_up.finish_item(told, 1.0)
    with pytest.raises(StoreError, match="FENCED"):
        await held_up.take(60)
    assert not await held_up.take(60)
    with pytest.raises(StoreError, match="lost"):  # its round goes on without a lease
        await held_up.finish_item(told, 1.0)
    assert await next_one.finish_item(told, 1.0)
    await held_up.give_back()  # of nothing
    assert await next_one.take(60)
    assert (await jobs.find(job.id)) is not None


async def test_a_store_that_lost_its_data_has_no_two_servers_work(
    redis: Connection, prefix: str
) -> None:
    held_up, next_one = WorkQueue(redis, prefix=prefix), WorkQueue(redis, prefix=prefix)
    assert await held_up.take(60)
    await redis.delete(*[key async for key in redis.scan_iter(f"{prefix}*")])
    assert await next_one.take(60)
    with pytest.raises(StoreError, match="FENCED"):
        await held_up.take(60)
    assert not await held_up.take(60)


async def test_a_lease_outlives_a_renewal_that_fails(redis: Connection, prefix: str) -> None:
    _, job = await opened(redis, prefix)
    work, lease = WorkQueue(redis, prefix=prefix), f"{prefix}bt:lease"
    assert await work.take(60)
    await redis.rename(lease, f"{lease}:aside")
    await redis.hset(lease, "the store", "fails")
    with pytest.raises(StoreError):
        await work.take(60)
    await redis.rename(f"{lease}:aside", lease)
    told = FinishedItem(Waiter(job.id, 0, "same"), "succeeded", b"{}", "acme")
    assert await work.finish_item(told, 1.0)  # a paid answer is not lost
    assert await work.take(60)


def rows_of(work: WorkQueue, ledger: Ledger, **given: Any) -> PendingRows:
    chosen = {"flush": ledger.flush, "metrics": Metrics(), **given}
    return PendingRows(work, ledger, given_up=lambda: ledger.overflowed, **chosen)


async def test_rows_that_a_server_left_are_entered_by_the_next(
    redis: Connection, prefix: str
) -> None:
    _, job = await opened(redis, prefix)
    killed, ledger, metrics = (
        WorkQueue(redis, prefix=prefix),
        Ledger(redis, prefix=prefix),
        Metrics(),
    )
    assert await killed.take(60)
    known, left, strange = row(), row(), row()
    for place, (one, kept) in enumerate(
        [(left, stored_row.encode(left)), (strange, b"[9]"), (known, stored_row.encode(known))]
    ):
        told = FinishedItem(Waiter(job.id, place, "same"), "succeeded", b"{}", "acme", one.id, kept)
        assert await killed.finish_item(told, 1.0)
    await ledger.record(known)  # that much was done
    await killed.give_back()
    work = WorkQueue(redis, prefix=prefix)
    rows = rows_of(work, ledger, metrics=metrics)
    assert await work.take(60)
    for _ in range(2):
        await rows.confirm()
        assert await work.rows() == {}
        assert {each.id for each in await kept_rows(ledger)} == {known.id, left.id}
    assert b'dropped_total{buffer="batch-rows"} 1.0' in metrics.render()
    await ledger.close()


async def test_a_row_is_kept_until_the_ledger_has_it(redis: Connection, prefix: str) -> None:
    _, job = await opened(redis, prefix)
    work, one = WorkQueue(redis, prefix=prefix), row()
    assert await work.take(60)

    async def away() -> None:
        raise StoreError("away")

    ledger = Ledger(redis, prefix=prefix)
    flushes = [away, ledger.flush]
    rows = rows_of(work, ledger, flush=lambda: flushes.pop(0)())
    await rows.confirm()
    told = FinishedItem(
        Waiter(job.id, 0, "same"), "succeeded", b"{}", "acme", one.id, stored_row.encode(one)
    )
    assert await work.finish_item(told, 1.0)
    ledger.append(one)
    rows.add(one.id)
    with pytest.raises(StoreError):
        await rows.confirm()
    assert list(await work.rows()) == [one.id]
    await rows.confirm()
    assert await work.rows() == {}
    assert [each.id for each in await kept_rows(ledger)] == [one.id]
    await ledger.close()


async def test_a_row_that_found_no_room_in_the_ledger_is_entered_again(
    redis: Connection, prefix: str
) -> None:
    """One that is given up for others while the store is slow is still kept with its item."""
    _, job = await opened(redis, prefix)
    work, one, two = WorkQueue(redis, prefix=prefix), row(), row()
    assert await work.take(60)
    ledger = Ledger(redis, prefix=prefix, limit=1)
    rows = rows_of(work, ledger)
    await rows.confirm()
    told = FinishedItem(
        Waiter(job.id, 0, "same"), "succeeded", b"{}", "acme", one.id, stored_row.encode(one)
    )
    assert await work.finish_item(told, 1.0)
    ledger.append(one)
    rows.add(one.id)
    ledger.append(two)
    assert ledger.overflowed == 1
    await rows.confirm()
    assert list(await work.rows()) == [one.id]
    await rows.confirm()
    assert await work.rows() == {}
    assert {each.id for each in await kept_rows(ledger)} == {one.id, two.id}
    await ledger.close()


async def test_an_item_is_answered_once_and_the_last_ends_the_job(
    redis: Connection, prefix: str
) -> None:
    jobs, job = await opened(redis, prefix)
    work = WorkQueue(redis, prefix=prefix)
    await work.take(60)

    async def answer(place: int, line: bytes) -> bool:
        return await work.finish_item(
            FinishedItem(Waiter(job.id, place, "same"), "succeeded", line, "acme"), 2_000.0
        )

    assert await answer(0, b'{"n":1}')
    assert not await answer(0, b"second")
    found = await jobs.get("shop", job.id)
    assert found is not None
    assert (found.status, found.done) == ("in_progress", 1)
    assert await answer(1, b'{"n":2}')
    found = await jobs.get("shop", job.id)
    assert found is not None
    assert (found.status, found.ended_at) == ("ended", 2_000.0)
    assert [line async for line in jobs.lines(found)] == [b'{"n":1}', b'{"n":2}']
    assert await jobs.get("other", job.id) is None
    assert await work.open_jobs() == []


async def test_who_joins_while_an_answer_is_told_is_told_as_well(
    redis: Connection, prefix: str
) -> None:
    jobs, job = await opened(redis, prefix)
    work = WorkQueue(redis, prefix=prefix)
    await work.take(60)
    ask: dict[str, str | bytes | int] = {"asked": b"{}", "size": 1}
    first, second = Waiter(job.id, 0, "same"), Waiter(job.id, 1, "same")
    await work.join(first, "k", pool="p", share={"tenant": "acme"}, due=1.0, late=9.0, ask=ask)
    told = [FinishedItem(first, "succeeded", b"{}", "acme")]
    await work.join(second, "k", pool="p", share={"tenant": "acme"}, due=1.0, late=9.0, ask=ask)
    assert await work.finish("k", 1, told, 2.0) == 0
    assert await jobs.some(job.id, [0, 1]) == [None, None]
    assert (
        await work.finish("k", 2, [*told, FinishedItem(second, "succeeded", b"{}", "acme")], 2.0)
        == 1
    )
    assert await jobs.some(job.id, [0, 1]) == [b"{}", b"{}"]


async def test_nothing_is_sent_once_the_lease_may_be_over(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, pace=replace(QUICK, lease_s=600)) as house:
        desk = house.batching._context
        while not desk.work.token:
            await house.batching.changed()
        held_until, desk.held_until = desk.held_until, 0.0  # held up, for who knows how long
        answer = await house.http.post("/v1/messages/batches", json={"requests": [item("a")]})
        while not await desk.work.batches():
            await house.batching.changed()
        for _ in range(3):
            await house.batching.changed()
        assert house.sent == []
        desk.held_until = held_until
        ended = await house.ended(answer.json()["id"])
        assert (ended["counts"]["succeeded"], len(house.sent)) == (1, 1)


async def test_everything_of_a_job_dies_with_its_results(redis: Connection, prefix: str) -> None:
    jobs, job = await opened(redis, prefix)
    work = WorkQueue(redis, prefix=prefix)
    await work.take(60)
    waiter = Waiter(job.id, 0, "same")
    ask: dict[str, str | bytes | int] = {"asked": b"{}", "size": 1}
    await work.join(waiter, "k", pool="p", share={"tenant": "acme"}, due=1.0, late=9.0, ask=ask)
    await work.pack("p", "nonce", ["k"], 1.0)
    await work.finish_item(FinishedItem(Waiter(job.id, 1, "same"), "errored", b"{}", "acme"), 1.0)
    forever = {b"bt:pools", b"bt:open", b"bt:late", b"bt:ships"}
    forever |= {b"bt:bytes", b"bt:kept"}  # which are swept as jobs come
    keys = [key async for key in redis.scan_iter(f"{prefix}*")]
    kept = {key.removeprefix(prefix.encode()) for key in keys if await redis.ttl(key) == -1}
    assert kept <= forever
    assert await work.finish("k", 1, [FinishedItem(waiter, "succeeded", b"{}", "acme")], 2.0) == 1
    assert await work.finish("k", 1, [FinishedItem(waiter, "succeeded", b"{}", "acme")], 2.0) == 2
    assert await work.batches() == []
    assert await jobs.delete("shop", job.id)
    left = {key.removeprefix(prefix.encode()) async for key in redis.scan_iter(f"{prefix}*")}
    assert left <= {b"bt:pools", b"bt:lease", b"bt:bytes"}
    assert await redis.hgetall(f"{prefix}bt:bytes") == {b"total": b"0"}
