"""Reservations: one sum for all servers, never overrun by more than what is in flight."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.budgets.rules import Balance, periods
from cacheserver.budgets.store import BudgetStore
from cacheserver.cache.budget_verdict import Account, Amount
from cacheserver.core.rules.budgets import AtLimit
from cacheserver.storage.connection import Connection, command, connect

NOW = 1_795_000_000.25
DAY, MONTH = periods(NOW)

shared = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def account(
    nano: int | None = None,
    tokens: int | None = None,
    *,
    at_limit: AtLimit = "refuse",
    key: str | None = None,
) -> Account:
    return Account("acme", key, DAY, nano, tokens, at_limit)


async def reserve(
    store: BudgetStore,
    id: str,
    accounts: Sequence[Account],
    nano: int,
    tokens: int = 0,
    *,
    now: float = NOW,
) -> bool:
    held = await store.reserve(
        "acme", id, accounts, amount=Amount(nano, tokens), cheapest=Amount(1, 1), now=now
    )
    return held.reserved


async def stands(store: BudgetStore, *accounts: Account, now: float = NOW) -> list[Balance]:
    return list(await store.balances("acme", accounts, now))


async def test_what_was_spent_takes_the_place_of_what_was_reserved(
    redis: Connection, prefix: str
) -> None:
    store, one = BudgetStore(redis, prefix=prefix), account(100)
    assert await reserve(store, "a", [one], 60, 600)
    assert await stands(store, one) == [Balance(Amount(), Amount(60, 600))]
    assert await store.settle("acme", "a", [one], Amount(7, 70), NOW)
    assert await stands(store, one) == [Balance(Amount(7, 70), Amount())]


async def test_what_was_reserved_is_freed_wherever_the_bill_is_booked(
    redis: Connection, prefix: str
) -> None:
    store, one, other = BudgetStore(redis, prefix=prefix), account(100), account(key="k")
    most = 2**53 - 1_000  # nanodollars: 9 million dollars
    assert await store.settle("acme", "before", [one], Amount(most, 5), NOW)
    assert await reserve(store, "a", [other], 60, 600)
    await redis.config_resetstat()
    assert await store.settle("acme", "a", [one], Amount(999, 70), NOW)
    assert await stands(store, one, other) == [
        Balance(Amount(most + 999, 75), Amount()),
        Balance(Amount(), Amount()),
    ]
    stats = await redis.info("commandstats")
    assert stats["cmdstat_hset"]["calls"] == 2  # once for each account


async def test_a_settlement_sent_twice_counts_once(redis: Connection, prefix: str) -> None:
    store, one = BudgetStore(redis, prefix=prefix), account(100)
    await reserve(store, "a", [one], 60)
    assert await store.settle("acme", "a", [one], Amount(7, 1), NOW)
    assert not await store.settle("acme", "a", [one], Amount(7, 1), NOW)
    assert await stands(store, one) == [Balance(Amount(7, 1), Amount())]


async def test_at_its_end_nothing_more_is_let_in_on_any_of_the_accounts(
    redis: Connection, prefix: str
) -> None:
    store, mine, all_ = BudgetStore(redis, prefix=prefix), account(None, 10, key="k"), account(100)
    assert await reserve(store, "a", [all_, mine], 99, 10)
    held = await store.reserve(
        "acme", "b", [all_, mine], amount=Amount(1, 1), cheapest=Amount(), now=NOW
    )
    assert not held.reserved
    assert [(full.account.key_id, full.unit, full.held) for full in held.full([all_, mine])] == [
        ("k", "tokens", True)
    ]
    assert await stands(store, all_, mine) == [Balance(Amount(), Amount(99, 10))] * 2


async def test_a_warning_lets_in_and_the_cheapest_tier_is_reserved_at_its_own_price(
    redis: Connection, prefix: str
) -> None:
    store = BudgetStore(redis, prefix=prefix)
    warned, cheap = account(0, at_limit="warn"), account(0, at_limit="cheaper", key="k")
    first = await store.reserve(
        "acme", "a", [warned], amount=Amount(50, 5), cheapest=Amount(2, 5), now=NOW
    )
    assert (first.reserved, first.cheapest) == (True, False)
    second = await store.reserve(
        "acme", "b", [warned, cheap], amount=Amount(50, 5), cheapest=Amount(2, 5), now=NOW
    )
    assert (second.reserved, second.cheapest) == (True, True)
    assert [one.reserved.nano for one in await stands(store, warned, cheap)] == [52, 2]


async def test_a_server_that_never_comes_back_frees_what_it_held(
    redis: Connection, prefix: str
) -> None:
    store, one = BudgetStore(redis, prefix=prefix, lease_s=30), account(100)
    assert await reserve(store, "a", [one], 100)
    assert not await reserve(store, "b", [one], 1, now=NOW + 29)
    held = await store.reserve(
        "acme", "c", [one], amount=Amount(1), cheapest=Amount(), now=NOW + 30
    )
    assert (held.reserved, held.freed) == (True, 1)
    # It does come back: what it spent counts, and nothing is freed twice.
    await store.settle("acme", "a", [one], Amount(40), NOW + 31)
    assert await stands(store, one, now=NOW + 31) == [Balance(Amount(40), Amount(1))]


async def test_who_gave_up_before_the_reservation_came_through_holds_nothing(
    redis: Connection, prefix: str
) -> None:
    store, one = BudgetStore(redis, prefix=prefix), account(100)
    await store.settle("acme", "a", (), Amount(), NOW)
    await reserve(store, "a", [one], 100)
    assert await stands(store, one) == [Balance(Amount(), Amount())]


async def test_tenants_and_keys_do_not_share_accounts(redis: Connection, prefix: str) -> None:
    store = BudgetStore(redis, prefix=prefix)
    clever = Account("acme:x", None, DAY, 10)
    plain = Account("acme", "x", DAY, 10)
    await store.settle("acme:x", "a", [clever], Amount(5), NOW)
    assert await stands(store, plain) == [Balance(Amount(), Amount())]


async def test_every_key_has_an_end(redis: Connection, prefix: str) -> None:
    store, one = BudgetStore(redis, prefix=prefix), account(100)
    await reserve(store, "a", [one, Account("acme", None, MONTH, 100)], 60)
    await store.settle("acme", "b", [one], Amount(1), NOW)
    names = await command(redis, "KEYS", f"{prefix}*")
    assert len(names) == 5
    for name in names:
        assert 0 < await command(redis, "TTL", name) <= 62 * 86_400


@dataclass
class Server:
    """One of several that share a Redis; what it let in is not settled yet."""

    store: BudgetStore
    flying: dict[str, tuple[int, int]] = field(default_factory=dict)


sizes = st.integers(1, 40)
steps = st.lists(
    st.tuples(st.sampled_from(["ask", "end", "end", "crash"]), st.integers(0, 2), sizes, sizes),
    max_size=40,
)


@shared
@given(steps=steps, nano=st.integers(0, 200), tokens=st.none() | st.integers(0, 200))
async def test_sums_are_exact_and_the_overrun_is_what_was_in_flight_at_most(
    url: str, steps: list[tuple[str, int, int, int]], nano: int, tokens: int | None
) -> None:
    """Any order of asking, ending and crashing, on three servers."""
    redis = connect(url)
    prefix = f"{uuid.uuid4().hex}:"
    day = account(nano, tokens)
    month = Account("acme", None, MONTH, None)
    now, spent, spent_tokens = NOW, 0, 0
    servers = [Server(BudgetStore(redis, prefix=prefix, lease_s=100)) for _ in range(3)]
    for number, (what, which, size, share) in enumerate(steps):
        server, id = servers[which], f"r{number}"
        before = sum(n for s in servers for n, _ in s.flying.values())
        before_tokens = sum(t for s in servers for _, t in s.flying.values())
        if what == "ask":
            made = await reserve(server.store, id, [day, month], size, share, now=now)
            room = spent + before < nano
            if tokens is not None:
                room = room and spent_tokens + before_tokens < tokens
            assert made == room
            if made:
                server.flying[id] = (size, share)
        elif what == "end" and server.flying:
            id, (held, held_tokens) = server.flying.popitem()
            actual = Amount(min(size, held), min(share, held_tokens))
            await server.store.settle("acme", id, [day, month], actual, now)
            spent, spent_tokens = spent + actual.nano, spent_tokens + actual.tokens
        elif what == "crash":
            server.flying.clear()
            now += 101
            for other in servers:  # their leases ran out as well: they are over, unpaid
                other.flying.clear()
        flying = [amounts for s in servers for amounts in s.flying.values()]
        expected = Balance(
            Amount(spent, spent_tokens),
            Amount(sum(n for n, _ in flying), sum(t for _, t in flying)),
        )
        assert await stands(servers[0].store, day, month, now=now) == [expected, expected]
        over = spent + expected.reserved.nano - nano
        assert over < 40 or nano == 0 == spent  # the one that was let in last
    await redis.aclose()


async def test_a_burst_on_many_connections_is_let_in_up_to_the_limit(
    redis: Connection, prefix: str, url: str
) -> None:
    others = [connect(url) for _ in range(4)]
    stores = [BudgetStore(one, prefix=prefix) for one in others]
    one, limit, each = account(1_000), 1_000, 30

    async def ask(number: int) -> int:
        store, id = stores[number % 4], f"r{number}"
        if not await reserve(store, id, [one], each):
            return 0
        await asyncio.sleep(0)
        actual = random.Random(number).randint(0, each)
        await store.settle("acme", id, [one], Amount(actual, 1), NOW)
        return actual

    paid = sum(await asyncio.gather(*(ask(number) for number in range(200))))
    (balance,) = await stands(stores[0], one)
    assert balance == Balance(Amount(paid, balance.spent.tokens), Amount())
    assert paid < limit + each
    for other in others:
        await other.aclose()
