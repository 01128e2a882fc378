"""Planning of calls that only read Claude's prompt cache, with a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from cacheserver.core.background import BackgroundWork
from cacheserver.core.types import Plan, Query, Tenant, Usage
from cacheserver.observability.metrics import Metrics
from cacheserver.pricing.prices import Pricer
from cacheserver.promptcache.layout import lay_out
from cacheserver.promptcache.prefixes import Prefixes
from cacheserver.promptcache.session import PromptPlanner
from cacheserver.storage.connection import Connection
from tests.cache.queries import query

NOW = 1_795_000_000.0
MODEL = "claude-haiku-5-5"
SYSTEM = "You answer customers of a shop that sells things for house and garden. " * 150
WROTE, READ = Usage(20, 300, 4_260), Usage(20, 300, cache_read_tokens=4_260)


def asked(number: int, tenant: str) -> Query:
    return query(f"Where is order {number}?", system=SYSTEM, tenant=Tenant(tenant))


class Server:
    """A planner, and the calls it plans."""

    def __init__(self, prefixes: Prefixes, writes: BackgroundWork) -> None:
        self.prefixes = prefixes
        self.planner = PromptPlanner(prefixes=prefixes, writes=writes, cost=Pricer().cost)

    async def call(self, number: int, tenant: str, now: float) -> Plan:
        told = asked(number, tenant)
        _, plan = await self.planner.plan(told, told.body, MODEL, now)
        assert plan is not None
        async with self.planner.turn(told, plan):
            pass
        usage: Any = {"write": WROTE, "read": READ}.get(plan.reason, Usage(4_280, 300))
        self.planner.learn(told, plan, MODEL, usage, now)
        return plan


def names_of(told: Query) -> list[tuple[str, str, int]]:
    spots = lay_out(told.body, MODEL, {}).spots
    return [(spot.prefix, spot.root + spot.kind, spot.tokens) for spot in spots]


@pytest.fixture
async def writes() -> AsyncIterator[BackgroundWork]:
    found = BackgroundWork("prompts", Metrics(), limit=10_000, at_once=1)
    yield found
    await found.close()


async def scripts_run(redis: Connection) -> int:
    return int((await redis.info("commandstats"))["cmdstat_evalsha"]["calls"])


async def test_calls_that_read_the_same_prefix_ask_the_store_once_in_two_seconds(
    redis: Connection, prefix: str, writes: BackgroundWork
) -> None:
    prefixes = Prefixes(redis, prefix=prefix, server="one")
    server = Server(prefixes, writes)
    for number in range(3):
        plan = await server.call(number, "acme", NOW + number / 10)
        await writes.drain()
    assert plan.reason == "read"
    before = await scripts_run(redis)
    plans = [await server.call(10 + n, "acme", NOW + 0.3 + n / 20) for n in range(20)]
    assert {one.reason for one in plans} == {"read"}
    assert {one.marks for one in plans} == {plan.marks}
    assert await scripts_run(redis) == before
    assert (await server.call(50, "acme", NOW + 2.2)).reason == "read"
    assert await scripts_run(redis) == before + 1


async def test_what_is_not_asked_is_counted_all_the_same(
    redis: Connection, prefix: str, writes: BackgroundWork
) -> None:
    prefixes = Prefixes(redis, prefix=prefix, server="one")
    server, found = Server(prefixes, writes), []
    for tenant in ("remembers", "forgets"):
        for number in range(12):
            if tenant == "forgets":
                server = Server(prefixes, writes)
            await server.call(number, tenant, NOW + number / 10)
            if number < 3 or tenant == "forgets":
                await writes.drain()
        await writes.drain()
        found.append(await prefixes.see(tenant, names_of(asked(1, tenant)), NOW + 2))
    assert found[0] == found[1]
    assert found[0][0].sightings > 11


async def test_what_would_be_written_is_asked_of_the_store(
    redis: Connection, prefix: str, writes: BackgroundWork
) -> None:
    prefixes = Prefixes(redis, prefix=prefix, server="one")
    server, told = Server(prefixes, writes), asked(7, "acme")
    for number in range(3):
        plan = await server.call(number, "acme", NOW + number / 10)
        await writes.drain()
    now = NOW + 0.3
    while plan.reason == "read":  # until the whole question pays, too
        now += 0.01
        _, found = await server.planner.plan(told, told.body, MODEL, now)
        assert found is not None
        plan = found
    assert plan.reason == "write"
    (name, *_), *_ = reversed(names_of(told))
    (sight,) = await prefixes.see("acme", [(name, "turn", 4_280)], now)
    assert sight.writing == "ours"
    assert sight.account < 0
