"""Rate limits over several servers on one real Redis, and with it away."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from statistics import median

import pytest

from cacheserver.budgets.rate_limit_store import RateLimitStore
from cacheserver.budgets.rate_limits import RateLimits
from cacheserver.budgets.rules import most
from cacheserver.core.background import BackgroundWork
from cacheserver.core.errors import RateLimited
from cacheserver.core.rules.limits import Limits
from cacheserver.core.types import Query, Tenant
from cacheserver.observability.metrics import Metrics
from cacheserver.storage.connection import Connection, connect
from tests.cache.queries import query
from tests.redis_servers import ENGINES, serving

KEY = "0123456789abcdef"


class Keys:
    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits

    def limits_of(self, key_id: str | None) -> Limits | None:
        return self.limits if key_id == KEY else None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Server:
    def __init__(
        self, redis: Connection, prefix: str, *, key: Limits | None = None, lease_s: float = 30
    ) -> None:
        self.clock, self.metrics = Clock(), Metrics()
        self.behind = BackgroundWork("rate-limit", self.metrics, limit=10_000, at_once=1)
        self.limits = RateLimits(
            RateLimitStore(redis, prefix=prefix, lease_s=lease_s),
            keys=Keys(key),
            metrics=self.metrics,
            writes=self.behind,
            clock=self.clock,
        )

    async def request(self, tenant: Tenant, key_id: str | None = None) -> RateLimited | None:
        try:
            await self.limits.request(tenant, key_id)
        except RateLimited as refused:
            return refused
        return None

    async def miss(self, asked: Query, id: str) -> RateLimited | None:
        try:
            await self.limits.miss(asked, id)
        except RateLimited as refused:
            return refused
        return None

    async def ended(self, id: str, tokens: int | None = 0) -> None:
        self.limits.ended(id, tokens)
        await self.behind.drain()

    async def close(self) -> None:
        await self.limits.close()
        await self.behind.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(ENGINES["valkey"]) as address:
        yield address


@pytest.fixture
async def servers(redis: Connection) -> AsyncIterator[list[Server]]:
    """Three, on one Redis."""
    prefix = f"{uuid.uuid4().hex}:"
    found = [Server(redis, prefix, key=Limits(2, 1)) for _ in range(3)]
    yield found
    for server in found:
        await server.close()


def tenant(**limits: int) -> Tenant:
    return Tenant("acme", limits=Limits(**limits))


@pytest.mark.parametrize("per_minute", [1_200, 6_000])
async def test_requests_taken_ahead_are_never_more_than_the_limit(
    servers: list[Server], redis: Connection, per_minute: int
) -> None:
    acme = tenant(requests_per_minute=per_minute)
    began, asked = time.monotonic(), per_minute + 1_000
    await redis.config_resetstat()
    let_in, drawn = 0, random.Random(0)
    for start in range(0, asked, 100):
        some = [drawn.choice(servers).request(acme) for _ in range(min(100, asked - start))]
        let_in += sum(one is None for one in await asyncio.gather(*some))
        if drawn.random() < 0.1:
            drawn.choice(servers).clock.now += 2  # what was taken ahead is over
    most = per_minute + (time.monotonic() - began) * per_minute / 60
    assert 0.9 * per_minute <= let_in <= most + 1
    commands = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert commands < let_in / (per_minute / 600) * 1.5 + 2 * (asked - let_in)


async def test_misses_that_are_not_asked_for_one_by_one_stay_within_the_limits(
    servers: list[Server],
) -> None:
    per_minute, seats = 150_000, 200
    asked = query(tenant=tenant(tokens_per_minute=per_minute, concurrent_misses=seats))
    cost = most(asked.body, asked.model, lambda *_: None).tokens
    assert 2 * cost < per_minute / 600  # enough are taken ahead
    drawn, under_way, taken = random.Random(0), list[tuple[Server, str]](), 0
    began, refused_for = time.monotonic(), set[str]()
    for number in range(3_000):
        server = drawn.choice(servers)
        refused = await server.miss(asked, str(number))
        if refused is None:
            under_way.append((server, str(number)))
            taken += cost
        else:
            refused_for.add(why := refused.headers["x-cache-reason"])
            # Each of the others may keep two seats, and others may be on their way back.
            assert why != "limit-misses" or len(under_way) > seats - 20
        assert len(under_way) <= seats
        assert taken <= per_minute + (time.monotonic() - began) * per_minute / 60
        if under_way and drawn.random() < (0.9 if len(under_way) > 195 else 0.7):
            at, id = under_way.pop(drawn.randrange(len(under_way)))
            used = drawn.choice([cost, cost // 2])
            at.limits.ended(id, used)
            taken -= cost - used
        if drawn.random() < 0.02:
            server.clock.now += 2  # what was taken ahead is over
    assert refused_for == {"limit-tokens", "limit-misses"}


async def test_a_free_seat_is_kept_for_the_next_miss_and_soon_returned(
    servers: list[Server], redis: Connection
) -> None:
    one, other, _ = servers
    asked = query(tenant=tenant(tokens_per_minute=10**9, concurrent_misses=100))
    for number in range(5):  # more than it may keep of this limit
        assert await one.miss(asked, str(number)) is None
    for number in range(5):
        await one.ended(str(number), 10)
    before = (await redis.info("stats"))["total_commands_processed"]
    for number in range(50):
        assert await one.miss(asked, str(number)) is None
        one.limits.ended(str(number), 10)
    assert (await redis.info("stats"))["total_commands_processed"] - before <= 12
    held = [await other.miss(asked, f"other-{number}") for number in range(100)]
    assert [refused is None for refused in held] == [True] * 99 + [False]
    await one.limits.close()
    await one.behind.drain()
    assert await other.miss(asked, "last") is None


async def test_requests_that_wait_for_others_are_let_in_together(servers: list[Server]) -> None:
    acme, loop = tenant(requests_per_minute=60_000), asyncio.get_running_loop()
    turn, let_in = 0, list[int]()

    def count() -> None:
        nonlocal turn
        turn += 1
        if len(let_in) < 50:
            loop.call_soon(count)

    async def ask() -> None:
        assert await servers[0].request(acme) is None
        let_in.append(turn)

    assert await servers[0].request(acme) is None  # the first asks for itself alone
    count()
    await asyncio.gather(*(ask() for _ in range(50)))
    assert let_in[-1] - let_in[0] <= 1


async def test_one_who_asks_for_others_and_leaves_holds_nobody_up(servers: list[Server]) -> None:
    acme = tenant(requests_per_minute=60_000)
    assert await servers[0].request(acme) is None  # the first asks for itself alone
    first, *others = [asyncio.create_task(servers[0].request(acme)) for _ in range(5)]
    await asyncio.sleep(0)  # all have begun
    first.cancel()
    assert await asyncio.gather(*others) == [None] * 4


async def test_servers_on_one_redis_count_requests_together(servers: list[Server]) -> None:
    acme = tenant(requests_per_minute=5)
    asks = [servers[n % 3].request(acme) for n in range(12)]
    refused = [one for one in await asyncio.gather(*asks) if one is not None]
    assert len(refused) == 7
    first = refused[0]
    assert (first.status, first.type) == (429, "rate_limit_error")
    assert first.headers["x-cache-reason"] == "limit-requests"
    assert first.headers["x-limit"] == "acme/requests_per_minute"
    assert 1 <= int(first.headers["retry-after"]) <= 12
    assert await servers[0].request(replace(acme, name="other")) is None


async def test_a_key_has_limits_of_its_own_within_its_tenants(servers: list[Server]) -> None:
    acme = tenant(requests_per_minute=3)
    assert [await servers[0].request(acme, KEY) for _ in range(2)] == [None, None]
    refused = await servers[1].request(acme, KEY)
    assert refused is not None
    assert refused.headers["x-limit"] == f"acme/{KEY}/requests_per_minute"
    assert await servers[1].request(acme) is None  # what the key was refused took nothing
    refused = await servers[2].request(acme)
    assert refused is not None
    assert refused.headers["x-limit"] == "acme/requests_per_minute"


async def test_callers_with_keys_of_their_own_share_what_their_tenant_may_do(
    servers: list[Server],
) -> None:
    acme = tenant(requests_per_minute=1)
    assert await servers[0].request(replace(acme, name=f"acme@{'a' * 32}")) is None
    assert await servers[0].request(replace(acme, name=f"acme@{'b' * 32}")) is not None


async def test_misses_under_way_are_counted_together_and_freed_at_their_end(
    servers: list[Server],
) -> None:
    asked = query(tenant=tenant(concurrent_misses=2))
    assert await servers[0].miss(asked, "a") is None
    assert await servers[1].miss(asked, "b") is None
    refused = await servers[2].miss(asked, "c")
    assert refused is not None
    assert refused.headers["x-cache-reason"] == "limit-misses"
    await servers[1].ended("b")
    await servers[1].ended("b")
    assert await servers[2].miss(asked, "c") is None
    assert await servers[0].miss(asked, "d") is not None


async def test_a_server_that_was_killed_holds_a_seat_no_longer_than_its_lease(
    redis: Connection,
) -> None:
    prefix, asked = f"{uuid.uuid4().hex}:", query(tenant=tenant(concurrent_misses=1))
    killed, alive = (Server(redis, prefix, lease_s=1.5) for _ in range(2))
    assert await killed.miss(asked, "a") is None
    assert await alive.miss(asked, "b") is not None
    waiting = [0]

    async def until_let_in(server: Server, id: str) -> None:
        while await server.miss(asked, id) is not None:
            waiting[0] += 1

    renewed = asyncio.get_running_loop().time() + 3
    while asyncio.get_running_loop().time() < renewed:  # two leases: it runs, and holds on
        assert await alive.miss(asked, "b") is not None
    await killed.limits.close()
    async with asyncio.timeout(10):
        await until_let_in(alive, "b")
    assert waiting[0] > 0
    await alive.close()
    await killed.behind.close()


async def test_tokens_are_taken_as_the_most_it_can_be_and_what_was_not_used_goes_back(
    servers: list[Server],
) -> None:
    asked = query(tenant=tenant(tokens_per_minute=250))  # 100 for the answer, and a prompt
    assert await servers[0].miss(asked, "a") is None
    assert await servers[1].miss(asked, "b") is None
    refused = await servers[2].miss(asked, "c")
    assert refused is not None
    assert refused.headers["x-cache-reason"] == "limit-tokens"
    await servers[0].ended("a", 10)
    assert await servers[2].miss(asked, "c") is None
    await servers[2].ended("c", None)  # nobody knows what it took: all of it
    assert await servers[2].miss(asked, "d") is not None
    await servers[1].ended("b", 100_000)  # more than was thought is owed
    late = await servers[0].miss(asked, "e")
    assert late is not None
    assert int(late.headers["retry-after"]) > 60 * 300


async def test_a_caller_who_leaves_while_it_is_counted_wins_no_tokens(
    servers: list[Server],
) -> None:
    asked = query(tenant=tenant(tokens_per_minute=250, concurrent_misses=5))
    assert await servers[0].miss(asked, "a") is None
    assert await servers[0].miss(asked, "b") is None
    for n in range(20):
        task = asyncio.create_task(servers[0].limits.miss(asked, f"left-{n}"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, RateLimited)):
            await task
    await servers[0].behind.drain()
    assert await servers[0].miss(asked, "c") is not None


async def test_where_nothing_is_set_nobody_is_asked(
    servers: list[Server], redis: Connection
) -> None:
    before = (await redis.info("stats"))["total_commands_processed"]
    for n in range(20):
        assert await servers[0].request(Tenant("acme"), "another") is None
        assert await servers[0].miss(query(), str(n)) is None
        assert await servers[0].request(tenant(concurrent_misses=1)) is None
    assert (await redis.info("stats"))["total_commands_processed"] - before <= 2


async def test_with_the_store_away_each_server_counts_for_itself() -> None:
    with serving(ENGINES["valkey"]) as url:
        client = connect(url, timeout_s=0.5)
        one, two = Server(client, "cs1:"), Server(client, "cs1:")
        acme = tenant(requests_per_minute=60, concurrent_misses=1, tokens_per_minute=300)
        assert await one.request(acme) is None
    asked = query(tenant=acme)
    for server in (one, two):
        assert [await server.request(acme) for _ in range(60)] == [None] * 60
        refused = await server.request(acme)
        assert refused is not None
        server.clock.now += 1.0
        assert await server.request(acme) is None
        assert await server.miss(asked, "a") is None
        assert await server.miss(asked, "b") is not None
        await server.ended("a", 5_000)
        late = await server.miss(asked, "b")
        assert late is not None
        assert late.headers["x-cache-reason"] == "limit-tokens"
    for server in (one, two):
        await server.close()
    await client.connection_pool.disconnect()


async def test_with_the_store_away_nothing_is_lost_of_a_high_limit() -> None:
    """Requests are not taken ahead then: what was, nobody had."""
    with serving(ENGINES["valkey"]) as url:
        client = connect(url, timeout_s=0.5)
        server = Server(client, "cs1:")
        acme = tenant(requests_per_minute=1_200)
        assert await server.request(acme) is None
    for _ in range(2_000):
        server.clock.now += 0.06  # five in six of the limit
        assert await server.request(acme) is None
    await server.close()
    await client.connection_pool.disconnect()


async def test_a_store_that_hangs_holds_nobody_up_for_long() -> None:
    with serving(ENGINES["valkey"]) as url:
        client = connect(url)
        server = Server(client, "cs1:")
        acme = tenant(requests_per_minute=60)
        assert await server.request(acme) is None
        pid = (await client.info("server"))["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            took = []
            for _ in range(10):
                began = asyncio.get_running_loop().time()
                assert await server.request(acme) is None
                took.append(asyncio.get_running_loop().time() - began)
            assert took[0] < 5  # not the store's own limits
            assert median(took[1:]) < 0.25  # who asks later does not wait for it again
        finally:
            os.kill(pid, signal.SIGCONT)
        await server.close()
        await client.aclose()
