"""What batches hold of a budget, over servers that crash: exact at every step, gone at the end."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.batches.jobs import Job, Jobs, new_id
from cacheserver.batches.work_queue import DIRECT, FinishedItem, Waiter, WorkQueue
from cacheserver.budgets import rules as budget
from cacheserver.budgets.budgets import Budgets
from cacheserver.budgets.rules import Balance
from cacheserver.budgets.store import HOLD_S, LEASE_S, BudgetStore
from cacheserver.cache.budget_verdict import Account, Amount, Reservation
from cacheserver.core.errors import StoreError
from cacheserver.core.rules.budgets import BudgetRules, Limit
from cacheserver.core.types import Query, Tenant
from cacheserver.observability.metrics import Metrics
from cacheserver.pricing.prices import Pricer
from cacheserver.storage.connection import Connection, command, connect
from cacheserver.tenants.store import Tenants
from tests.cache.queries import query as made_query
from tests.ledger.rows import AT, row
from tests.redis_servers import prefix, redis, url

__all__ = ["prefix", "redis", "url"]  # fixtures

OPUS = "claude-opus-5-5"
ITEMS = 60

shared = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def asked(tokens: int, rules: BudgetRules) -> Query:
    return made_query(tenant=Tenant("acme", budgets=rules), model=OPUS, max_tokens=tokens)


@dataclass
class Server:
    """One of those that share a Redis. `flying`: live requests, by what is held for each."""

    budgets: Budgets
    work: WorkQueue
    flying: dict[str, Amount] = field(default_factory=dict)


@dataclass
class World:
    """The servers, a job, and what the books are to say."""

    redis: Connection
    prefix: str
    rules: BudgetRules
    servers: Sequence[Server]
    job: Job
    spent: int = 0
    largest: int = 0  # that was let in
    next: int = 0  # the item that is looked at next
    number: int = 0
    items: dict[int, Amount] = field(default_factory=dict)  # reserved for, and not asked yet
    asks: dict[str, Amount] = field(default_factory=dict)
    waiting: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def made(cls, url: str, usd: float, count: int = 3) -> AsyncIterator[World]:
        redis, prefix = connect(url), f"{uuid.uuid4().hex}:"
        rules = BudgetRules(daily=Limit(usd=usd), at_limit="refuse")
        servers = [
            Server(
                Budgets(
                    BudgetStore(redis, prefix=prefix),
                    tenants=Tenants(redis, prefix=prefix, defaults=Tenant("default")),
                    pricer=Pricer(),
                    metrics=Metrics(),
                    clock=lambda: AT,
                    default_model=OPUS,
                ),
                WorkQueue(redis, prefix=prefix),
            )
            for _ in range(count)
        ]
        job = Job(new_id("batch"), "batch", "acme", AT, total=ITEMS)
        kept = [(str(n), b"{}") for n in range(ITEMS)]
        await Jobs(redis, prefix=prefix).create(job, kept, keep_s=86_400)
        yield cls(redis, prefix, rules, servers, job)
        for server in servers:
            await server.budgets.close()
        await redis.aclose()

    @property
    def accounts(self) -> list[Account]:
        return budget.accounts("acme", None, self.rules, AT)

    @property
    def over(self) -> int:
        """By how much the budget is overrun; negative: what is left of it."""
        assert self.accounts[0].nano is not None
        return self.spent + self.held - self.accounts[0].nano

    @property
    def held(self) -> int:
        flying = [each for server in self.servers for each in server.flying.values()]
        return sum(one.nano for one in [*self.items.values(), *self.asks.values(), *flying])

    async def worker(self, which: int) -> Server:
        """That server has the lease, whoever had it before: it crashed, or was held up."""
        server = self.servers[which]
        if await command(self.redis, "GET", f"{self.prefix}bt:lease") != server.work.token.encode():
            await command(self.redis, "DEL", f"{self.prefix}bt:lease")
            server.work.token = ""
            assert await server.work.take(600)
        return server

    async def place(self, which: int, key: str, tokens: int, *, crash: bool) -> None:
        """As the sorter does; a crash is between the reservation and the ask."""
        if self.next >= ITEMS:
            return
        server, item, place = (
            await self.worker(which),
            Waiter(self.job.id, self.next, "same"),
            self.next,
        )
        where: dict[str, Any] = {
            "share": {"tenant": "acme"},
            "due": AT,
            "late": AT + 9,
            "cursor": place + 1,
        }
        if await server.work.join(item, key, pool="p", ask={}, **where):
            self.items.pop(place, None)
            self.waiting[key].append(place)
            self.next += 1
            return
        assert key not in self.asks
        query = asked(tokens, self.rules)
        before = self.items.get(place)
        room = self.over < 0
        admitted = await server.budgets.hold(query, item.hold, AT, token=server.work.token)
        assert isinstance(admitted, Reservation) == (room or before is not None)
        if not isinstance(admitted, Reservation):
            await self.answer(which)
            return
        self.items.setdefault(place, admitted.amount)
        self.largest = max(self.largest, admitted.amount.nano)
        if crash:
            return
        assert await server.work.join(item, key, pool="p", ask={"asked": b"{}", "size": 1}, **where)
        self.asks[key] = self.items.pop(place)
        self.waiting[key] = [place]
        self.next += 1

    async def answer(self, which: int) -> None:
        """The next item is answered without being asked: stored meanwhile, refused, cancelled."""
        if self.next >= ITEMS:
            return
        server = await self.worker(which)
        told = FinishedItem(Waiter(self.job.id, self.next, "same"), "succeeded", b"{}", "acme")
        assert await server.work.finish_item(told, AT, cursor=self.next + 1)
        self.items.pop(self.next, None)
        self.next += 1

    async def tell(self, which: int, share: float) -> None:
        """Claude answered an ask, and it is told twice: the first time nobody heard it was done."""
        if not self.waiting:
            return
        server, key = await self.worker(which), min(self.waiting)
        # Where it was asked at once the service has booked it.
        spent = Amount(round(self.asks.get(key, Amount()).nano * share), int(key in self.asks))
        waiting = self.waiting.pop(key)
        told = [
            FinishedItem(Waiter(self.job.id, n, "same"), "succeeded", b"{}", "acme")
            for n in waiting
        ]
        for _ in range(2):
            await server.work.finish(
                key, len(waiting), told, AT, spent=spent, accounts=self.accounts
            )
        self.asks.pop(key, None)
        self.spent += spent.nano

    async def leave(self, which: int) -> None:
        if not self.waiting:
            return
        server, key = await self.worker(which), max(self.waiting)
        place = self.waiting[key].pop(0)
        told = FinishedItem(Waiter(self.job.id, place, "same"), "canceled", b"{}", "acme")
        assert await server.work.leave(told, key, AT)
        if not self.waiting[key]:
            del self.waiting[key]
            self.asks.pop(key, None)

    async def direct(self, which: int) -> None:
        """An ask is made at once instead: it is let in anew there."""
        if self.waiting:
            server, key = await self.worker(which), min(self.waiting)
            await server.work.requeue(key, DIRECT, AT, {})
            self.asks.pop(key, None)

    async def live(self, which: int, tokens: int) -> None:
        server, id = self.servers[which], f"r{self.number}"
        self.number += 1
        room = self.over < 0
        admitted = await server.budgets.admit(asked(tokens, self.rules), id, AT)
        assert isinstance(admitted, Reservation) == room
        if isinstance(admitted, Reservation):
            server.flying[id] = admitted.amount
            self.largest = max(self.largest, admitted.amount.nano)

    async def end(self, which: int, share: float) -> None:
        server = self.servers[which]
        if server.flying:
            id, amount = server.flying.popitem()
            cost = round(amount.nano * share)
            server.budgets.settle(row(id=id, cost=cost, tenant="acme", key_id=None))
            await server.budgets.flush()
            self.spent += cost

    async def outdated(self, which: int, tokens: int) -> None:
        """A server that was held up and has lost the lease changes nothing."""
        server = self.servers[which]
        await self.worker((which + 1) % len(self.servers))
        stale = server.work.token or "0"
        with pytest.raises(StoreError, match="FENCED"):
            await server.budgets.hold(
                asked(tokens, self.rules), f"{self.job.id}:{self.next}", AT, token=stale
            )

    async def check(self) -> None:
        day, month = await self.servers[0].budgets.store.balances("acme", self.accounts, AT)
        stood = (day.spent.nano, day.reserved.nano)
        assert stood == (self.spent, self.held)
        assert (month.spent.nano, month.reserved.nano) == stood
        assert self.over < self.largest or not self.largest
        waits = await self.servers[0].work.asks_of(self.job.id)
        assert waits == {n: key for key, places in self.waiting.items() for n in places}


kinds = st.sampled_from(
    ["place"] * 4 + ["crash", "crash", "answer", "tell", "tell", "leave", "direct", "live", "end"]
    + ["outdated"]
)  # fmt: skip
steps = st.lists(
    st.tuples(
        kinds, st.integers(0, 2), st.sampled_from("abcd"), st.integers(1, 4_000), st.floats(0, 1)
    ),
    min_size=15,
    max_size=45,
)


@shared
@given(steps=steps, usd=st.sampled_from([0.0, 0.01, 0.05, 0.2, 1.0]))
async def test_books_are_exact_whoever_crashes_and_nothing_is_held_at_the_end(
    url: str, steps: list[tuple[str, int, str, int, float]], usd: float
) -> None:
    """Any order of asking, crashing, ending and handing over, on three servers.

    What is let in had room: so spent and reserved pass the budget by less than the largest of it.
    """
    async with World.made(url, usd) as world:
        for what, which, key, tokens, share in steps:
            match what:
                case "place" | "crash":
                    await world.place(which, key, tokens, crash=what == "crash")
                case "answer":
                    await world.answer(which)
                case "tell":
                    await world.tell(which, share)
                case "leave":
                    await world.leave(which)
                case "direct":
                    await world.direct(which)
                case "live":
                    await world.live(which, tokens)
                case "end":
                    await world.end(which, share)
                case "outdated":
                    await world.outdated(which, tokens)
            await world.check()
        while world.waiting:
            await world.tell(0, 0.5)
        while world.next < ITEMS:
            await world.answer(1)
        for which in range(3):
            while world.servers[which].flying:
                await world.end(which, 1.0)
        await world.check()
        assert world.held == 0
        job = await Jobs(world.redis, prefix=world.prefix).find(world.job.id)
        assert job is not None
        assert (job.status, job.done) == ("ended", ITEMS)
        for name in ("br", "bl"):
            assert not await command(world.redis, "EXISTS", f"{world.prefix}{name}:4:acme")


async def test_a_batch_is_held_at_half_the_price_for_as_long_as_it_can_take(url: str) -> None:
    async with World.made(url, 1.0) as world:
        await world.place(0, "a", 1_000, crash=False)
        await world.live(0, 1_000)
        (whole,) = world.servers[0].flying.values()
        assert world.asks["a"] == replace(whole, nano=world.asks["a"].nano)
        assert world.asks["a"].nano == pytest.approx(whole.nano / 2, abs=1)
        store, month = world.servers[1].budgets.store, world.accounts[1]
        (later,) = await store.balances("acme", [month], AT + LEASE_S + 1)
        assert later.reserved == world.asks["a"]
        (over,) = await store.balances("acme", [month], AT + HOLD_S + 1)
        assert over.reserved == Amount()


async def test_what_nothing_was_held_for_is_booked_all_the_same(url: str) -> None:
    """There was no budget when it was asked; what it cost counts in the one there is now."""
    async with World.made(url, 1.0) as world:
        server, item = await world.worker(0), Waiter(world.job.id, 0, "same")
        ask: dict[str, str | bytes | int] = {"asked": b"{}", "size": 1}
        await server.work.join(
            item, "a", pool="p", share={"tenant": "acme"}, due=AT, late=AT, ask=ask
        )
        told = [FinishedItem(item, "succeeded", b"{}", "acme", "acme")]
        for _ in range(2):
            await server.work.finish("a", 1, told, AT, spent=Amount(70, 7), accounts=world.accounts)
        stood = await server.budgets.store.balances("acme", world.accounts, AT)
        assert stood == (Balance(Amount(70, 7), Amount()),) * 2
