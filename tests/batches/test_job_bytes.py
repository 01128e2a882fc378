"""The bytes that jobs take: counted from their first to their last, and bounded."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.batches.jobs import Job, Jobs, NoRoom, new_id
from cacheserver.batches.work_queue import FinishedItem, Waiter, WorkQueue
from cacheserver.storage.connection import Connection, command, connect
from tests.batches.house import BatchHouse, item
from tests.redis_servers import prefix, redis, url

__all__ = ["prefix", "redis", "url"]  # fixtures

DAY_S = 86_400


async def accounts(redis: Connection, prefix: str) -> tuple[dict[str, int], int]:
    """What is counted by name, and the total that is kept beside."""
    found = await command(redis, "HGETALL", f"{prefix}bt:bytes")
    counted = {name.decode(): int(size) for name, size in found.items()}
    return counted, counted.pop("total", 0)


async def made(jobs: Jobs, sizes: list[int], *, webhook: str | None = None) -> Job:
    job = Job(new_id("batch"), "batch", "acme", 1_000.0, total=len(sizes), webhook=webhook)
    await jobs.create(job, [(str(n), os.urandom(s)) for n, s in enumerate(sizes)], keep_s=DAY_S)
    return job


async def answered(work: WorkQueue, job: Job, size: int) -> None:
    for place in range(job.total):
        told = FinishedItem(Waiter(job.id, place, "same"), "succeeded", b"x" * size, "acme")
        assert await work.finish_item(told, 2_000.0)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.sampled_from(["ask", "tell", "answer", "delete"]), st.integers(0, 2))))
async def test_whatever_happens_the_total_is_that_of_what_is_there(
    url: str, steps: list[tuple[str, int]]
) -> None:
    prefix = f"{uuid.uuid4().hex}:"
    redis = connect(url)
    jobs, work = Jobs(redis, prefix=prefix), WorkQueue(redis, prefix=prefix)
    await work.take(60)
    job = await made(jobs, [100, 2_000, 0])
    line = b"x" * 700
    for step, place in steps:
        waiter = Waiter(job.id, place, "same")
        told = FinishedItem(waiter, "succeeded", line, "acme")
        if step == "ask":
            ask: dict[str, str | bytes | int] = {"text": "q" * 50, "vector": b"v" * 1_536}
            await work.join(
                waiter, f"k{place}", pool="p", share={"tenant": "acme"}, due=1.0, late=9.0, ask=ask
            )
        elif step == "tell":
            waiting = (await work.waiters([f"k{place}"]))[0]
            await work.finish(f"k{place}", len(waiting), [told] if waiting else [], 1.0)
        elif step == "answer":
            await work.finish_item(told, 1.0)
        elif await jobs.delete("acme", job.id):
            break
        counted, total = await accounts(redis, prefix)
        there = {key.decode() for key in await command(redis, "KEYS", f"{prefix}bt:ask:*")}
        assert total == sum(counted.values())
        asks = {f"{prefix}bt:{name}" for name in counted if name.startswith("ask:")}
        assert asks == there
        outs = await command(redis, "HVALS", f"{prefix}bt:out:{job.id}")
        ins = await command(redis, "HVALS", f"{prefix}bt:in:{job.id}")
        held = sum(map(len, [*outs, *ins]))
        assert counted[job.id] == 2_000 + 3 * 200 + held
    await redis.aclose()


async def test_ended_jobs_make_room_and_those_under_way_do_not(
    redis: Connection, prefix: str
) -> None:
    jobs = Jobs(redis, prefix=prefix, max_bytes=50_000)
    work = WorkQueue(redis, prefix=prefix)
    await work.take(60)
    first, told, under_way = [
        await made(jobs, [10_000], webhook=hook) for hook in (None, "https://a.example/", None)
    ]
    await answered(work, first, 9_000)
    await answered(work, told, 9_000)
    with pytest.raises(NoRoom):
        await made(jobs, [45_000])
    assert await jobs.find(first.id) is not None  # nothing went for what did not fit
    last = await made(jobs, [15_000])
    assert await jobs.find(first.id) is None
    assert first.id not in await jobs.batches("acme")
    assert await command(redis, "EXISTS", f"{prefix}bt:out:{first.id}") == 0
    for job in (told, under_way, last):  # one whose end is still to be told, two with work to do
        assert await jobs.find(job.id) is not None
    with pytest.raises(NoRoom):
        await made(jobs, [15_000])
    counted, total = await accounts(redis, prefix)
    assert set(counted) == {told.id, under_way.id, last.id}
    assert total == sum(counted.values()) <= 50_000
    for job in (under_way, last):
        await answered(work, job, 1)
        assert await jobs.delete("acme", job.id)
    assert set((await accounts(redis, prefix))[0]) == {told.id}


async def test_what_has_died_by_itself_is_counted_no_more(redis: Connection, prefix: str) -> None:
    jobs = Jobs(redis, prefix=prefix)
    job = await made(jobs, [10_000])
    for key in (f"bt:job:{job.id}", f"bt:in:{job.id}"):
        await command(redis, "DEL", f"{prefix}{key}")
    await command(redis, "ZADD", f"{prefix}bt:kept", 1_000, job.id)  # its time has come
    other = await made(jobs, [10])
    assert list((await accounts(redis, prefix))[0]) == [other.id]


async def test_a_batch_that_finds_no_room_is_a_429(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, max_job_bytes=20_000) as house:
        text = os.urandom(30_000).hex()
        answer = await house.http.post("/v1/messages/batches", json={"requests": [item("a", text)]})
        assert answer.status_code == 429
        assert answer.json()["error"]["type"] == "rate_limit_error"
        assert int(answer.headers["retry-after"]) > 0
        answer = await house.http.post("/v1/messages/batches", json={"requests": [item("a")]})
        assert answer.status_code == 200
        await house.ended(answer.json()["id"])
