"""Background work over several servers: done by one of them, and taken over when it dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cacheserver.alerts.rules import Alert
from cacheserver.core.types import Tenant
from cacheserver.peers.work_lease import WORKS, Work
from tests.house import House
from tests.redis_servers import prefix, url

__all__ = ["prefix", "url"]  # fixtures

STANDING = set(WORKS) - {"re-embed"}  # taken when there is something to embed


@pytest.fixture
async def three(url: str, prefix: str, tmp_path: Path) -> AsyncIterator[list[House]]:
    async with AsyncExitStack() as stack:
        store: dict[str, Any] = {"redis_url": url, "redis_prefix": prefix[-9:]}
        yield [
            await stack.enter_async_context(House.open(tmp_path / str(n), **store))
            for n in range(3)
        ]


def work_of(house: House) -> set[Work]:
    return set(house.parts.host.leases.held)


async def settled(*houses: House) -> None:
    """Return once these servers do all of the work."""
    for house in houses:
        for work in STANDING:
            house.parts.host.leases.of(work)  # has it ask at once
    async with asyncio.timeout(10):
        while set().union(*map(work_of, houses)) < STANDING:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def died(house: House) -> None:
    """Stop a server's background tasks, and have its leases lapse in the store."""
    leases, store = house.parts.host.leases, house.parts.host.store
    held = leases.held
    assert leases._task is not None
    leases._task.cancel()
    for work in held:
        await store.redis.execute_command("PEXPIRE", f"{store.prefix}work:{work}", 1)


async def test_each_piece_of_work_is_done_by_one_server(three: list[House]) -> None:
    await settled(*three)
    done = [work for house in three for work in house.parts.host.leases.held]
    assert sorted(done) == sorted(STANDING)
    one = three[0]
    holders = await one.parts.host.leases.holders()
    names = {house.parts.host.peers.name for house in three}
    assert {who.server for who in holders.values() if who is not None} <= names
    assert {work for work, who in holders.items() if who is not None} == STANDING


async def test_the_work_of_a_dead_server_is_taken_over(three: list[House]) -> None:
    one, *others = three
    await settled(*three)
    await died(one)
    await settled(*others)
    assert work_of(others[0]) | work_of(others[1]) == STANDING
    assert not work_of(others[0]) & work_of(others[1])


async def test_a_server_that_ends_hands_its_work_on(
    three: list[House], url: str, prefix: str, tmp_path: Path
) -> None:
    one = three[0]
    await settled(*three)
    await one.parts.host.leases.close()
    await settled(*three[1:])


async def test_expired_answers_are_removed_by_one_server(three: list[House]) -> None:
    await settled(*three)
    sweeper = next(house for house in three if "upkeep" in work_of(house))
    others = [house for house in three if house is not sweeper]
    await three[0].ask("What is the capital of France?", headers={"x-cache-ttl": "60"})
    for house in three:
        house.clock.ahead_s = 10 * 86_400
    for house in others:
        assert await house.parts.entries.entries.upkeep() == 0
    assert await sweeper.parts.entries.entries.upkeep() == 1


async def test_an_alert_is_raised_and_sent_once(three: list[House]) -> None:
    await settled(*three)
    now = time.time()
    alert = Alert("budget-near", "default", "day", "2026-01-01", "90% of it is spent.")
    sent: list[str] = []
    for house in three:
        monitor = house.parts.capabilities.alerts
        assert monitor is not None

        async def note(*_: Any, name: str = house.parts.host.peers.name) -> None:
            sent.append(name)

        monitor.delivery._send = note  # type: ignore[assignment,method-assign]
    tenant = Tenant("default")
    rules = replace(tenant.budgets.alerts, webhook="https://example.com/alerts")
    tenant = replace(tenant, budgets=replace(tenant.budgets, alerts=rules))
    raised = [
        await monitor.delivery.raise_alert(tenant, alert, now)
        for house in three
        if (monitor := house.parts.capabilities.alerts) is not None
    ]
    assert raised == [True, False, False]
    for house in three:
        monitor = house.parts.capabilities.alerts
        assert monitor is not None
        await monitor._send_in_turn()
    sender = next(house for house in three if "alerts" in work_of(house))
    assert sent == [sender.parts.host.peers.name]
