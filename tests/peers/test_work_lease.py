"""Leases of background work: one holder at a time, taken over, and fenced."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cacheserver.core.errors import StoreError
from cacheserver.peers.work_lease import IS_OURS, WORKS, WorkLease, WorkLeases
from cacheserver.storage.connection import Connection, command, connect, run_script
from tests.redis_servers import losing_replies, prefix, redis, url

__all__ = ["prefix", "redis", "url"]  # fixtures


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def leases(redis: Connection, prefix: str) -> tuple[WorkLease, WorkLease, Clock]:
    clock = Clock()
    one, two = (
        WorkLease(redis, "ledger", server=name, prefix=prefix, length_s=60, clock=clock)
        for name in ("one", "two")
    )
    return one, two, clock


async def lapsed(redis: Connection, prefix: str) -> None:
    """Have the store forget the lease, as after its length."""
    await command(redis, "DEL", f"{prefix}work:ledger")


async def test_one_server_holds_a_lease_until_it_gives_it_back(
    leases: tuple[WorkLease, WorkLease, Clock],
) -> None:
    one, two, _ = leases
    assert await one.take()
    assert not await two.take()
    assert (one.held, two.held) == (True, False)
    assert await one.take()
    await two.give_back()  # not its own
    assert not await two.take()
    await one.give_back()
    assert not one.held
    assert await two.take()


async def test_a_lease_that_was_not_renewed_is_not_held_and_is_taken_over(
    leases: tuple[WorkLease, WorkLease, Clock], redis: Connection, prefix: str
) -> None:
    one, two, clock = leases
    assert await one.take()
    assert 0 < await command(redis, "PTTL", f"{prefix}work:ledger") <= 60_000
    clock.now += 53
    assert one.held
    clock.now += 2  # before the store forgets it
    assert not one.held
    await lapsed(redis, prefix)
    assert await two.take()
    assert not await one.take()
    await one.give_back()
    assert await two.take()


async def test_a_lease_that_lapsed_in_the_store_is_lost_even_if_nobody_has_it(
    leases: tuple[WorkLease, WorkLease, Clock], redis: Connection, prefix: str
) -> None:
    one, two, _ = leases
    assert await one.take()
    before = one.token
    await lapsed(redis, prefix)
    assert await two.take()
    await two.give_back()
    assert not await one.take()  # another has worked meanwhile
    assert await one.take()
    assert one.token != before


async def test_a_step_of_a_server_that_lost_the_lease_is_refused(
    leases: tuple[WorkLease, WorkLease, Clock], redis: Connection, prefix: str
) -> None:
    one, two, _ = leases
    step = redis.register_script(IS_OURS + "return is_ours('ledger', ARGV[2]) and 1 or 0")
    assert await one.take()
    assert await run_script(step, prefix, one.token)
    late = one.token
    await lapsed(redis, prefix)
    assert not await run_script(step, prefix, late)
    assert await two.take()
    assert not await run_script(step, prefix, late)
    assert await run_script(step, prefix, "")  # a store that no other server uses


async def test_a_lease_given_back_while_it_is_renewed_is_not_held(
    leases: tuple[WorkLease, WorkLease, Clock],
) -> None:
    one, two, _ = leases
    assert await one.take()
    await asyncio.gather(one.take(), one.give_back())
    assert not one.held
    assert await two.take()


async def test_who_fails_at_the_work_leaves_it_to_others_for_a_while(
    leases: tuple[WorkLease, WorkLease, Clock],
) -> None:
    one, two, clock = leases
    assert await one.take()
    await one.pass_on()
    assert not await one.take()
    assert await two.take()
    await two.give_back()
    clock.now += 61
    assert await one.take()


async def test_work_is_shared_out_taken_over_and_given_back(redis: Connection, prefix: str) -> None:
    def server(name: str) -> WorkLeases:
        return WorkLeases(redis, pytest.fail, server=name, prefix=prefix, length_s=0.3)

    one, two = server("one"), server("two")
    one.start()
    for work in WORKS:
        one.of(work)
    await held(one, len(WORKS))
    two.start()
    for work in WORKS:
        two.of(work)
    assert {who.server for who in (await one.holders()).values() if who} == {"one"}
    task = one._task
    assert task is not None
    task.cancel()  # it died
    await held(two, len(WORKS))
    assert not one.held
    await two.close()
    assert set((await one.holders()).values()) == {None}


async def test_a_lease_that_is_not_standing_is_taken_when_asked_for_and_then_renewed(
    redis: Connection, prefix: str
) -> None:
    one = WorkLeases(redis, pytest.fail, server="one", prefix=prefix, length_s=0.3)
    one.start()
    lease = one.of("re-embed", standing=False)
    one.of("ledger")
    await held(one, 1)
    assert one.held == ["ledger"]
    assert await lease.take()
    await asyncio.sleep(0.6)
    assert lease.held
    await one.close()
    assert not lease.held


def is_take(command: bytes, reply: bytes) -> bool:
    """Return whether it is about the lease of the ledger, and was carried out."""
    return b"ledger" in command and reply.startswith(b"*")


async def test_a_lease_counts_from_when_it_was_asked_for(
    url: str, prefix: str, tmp_path: Path
) -> None:
    clock = Clock()

    def slow(command: bytes, reply: bytes) -> bool:
        clock.now += 55.0 * is_take(command, reply)  # until the reply is here
        return False

    async with losing_replies(url, tmp_path / "proxy.sock", slow) as proxy:
        redis = connect(proxy)
        lease = WorkLease(redis, "ledger", server="one", prefix=prefix, length_s=60, clock=clock)
        assert not await lease.take()
        await redis.aclose()


async def test_a_lease_whose_reply_was_lost_is_had_by_asking_again(
    url: str, prefix: str, tmp_path: Path
) -> None:
    lost: list[bytes] = []

    def once(command: bytes, reply: bytes) -> bool:
        if is_take(command, reply):
            lost.append(reply)
        return is_take(command, reply) and len(lost) == 1

    async with losing_replies(url, tmp_path / "proxy.sock", once) as proxy:
        redis = connect(proxy)
        lease = WorkLease(redis, "ledger", server="one", prefix=prefix)
        with pytest.raises(StoreError):
            await lease.take()
        assert not lease.held
        assert await lease.take()
        await redis.aclose()


async def test_work_is_taken_after_a_failure_of_the_store_and_one_at_the_end_is_counted(
    url: str, prefix: str, tmp_path: Path
) -> None:
    fails, counted = True, list[str]()
    async with losing_replies(
        url, tmp_path / "proxy.sock", lambda command, reply: fails and b"ledger" in command
    ) as proxy:
        redis = connect(proxy)
        one = WorkLeases(redis, counted.append, server="one", prefix=prefix, length_s=0.3)
        one.of("ledger")
        one.start()
        async with asyncio.timeout(10):
            while not counted:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        fails = False
        await held(one, 1)
        fails, before = True, len(counted)
        await one.close()
        assert len(counted) > before
        assert set(counted) == {"work-leases"}
        assert not one.held
        await redis.aclose()


async def held(leases: WorkLeases, count: int) -> None:
    async with asyncio.timeout(10):
        while len(leases.held) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
