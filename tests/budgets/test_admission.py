"""A miss at the door: let in, let in cheaper, or sent away; and what it cost is booked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from cacheserver.budgets import rules as budget
from cacheserver.budgets.budgets import Budgets
from cacheserver.budgets.rules import Balance
from cacheserver.budgets.store import BudgetStore, Held
from cacheserver.cache.budget_verdict import Amount, Reservation, Verdict
from cacheserver.core.ledger_row import Bounds
from cacheserver.core.rules.budgets import AtLimit, BudgetRules, KeyBudget, Limit
from cacheserver.core.rules.routing import RoutingRules, Tiers
from cacheserver.core.types import Query, Tenant, Usage
from cacheserver.ledger.export import LedgerExport
from cacheserver.ledger.fan_out import LedgerFanOut
from cacheserver.ledger.writer import Ledger
from cacheserver.observability.metrics import Metrics
from cacheserver.pricing.prices import Pricer
from cacheserver.storage.connection import Connection, connect
from cacheserver.tenants.store import Tenants
from tests.cache.queries import query as made_query
from tests.hostile.raw import until
from tests.ledger.rows import AT, hit, row

KEY = "00112233aabbccdd"
OPUS, HAIKU = "claude-opus-5-5", "claude-haiku-5-5"
NANO = 1_000_000_000


@dataclass
class Books:
    """Budgets over a real store, and the tenant they are for."""

    budgets: Budgets
    metrics: Metrics
    tenants: Tenants

    def query(self, rules: BudgetRules, **given: Any) -> Query:
        return asked(replace(Tenant("acme"), budgets=rules), **given)

    async def spend(self, usd: float, id: str = "earlier", **given: Any) -> None:
        self.budgets.settle(row(id=id, cost=round(usd * NANO), **given))
        await self.budgets.flush()

    async def stands(self, rules: BudgetRules, key: str | None = None) -> list[Balance]:
        accounts = budget.accounts("acme", key, rules, AT)
        return list(await self.budgets.store.balances("acme", accounts, AT))

    def count(self, name: str) -> float:
        text = self.metrics.render().decode()
        return sum(float(x.rsplit(" ", 1)[1]) for x in text.splitlines() if x.startswith(name))


def asked(tenant: Tenant, *, model: str = OPUS, key: str | None = KEY) -> Query:
    return replace(made_query(tenant=tenant, model=model, max_tokens=1_000), key_id=key)


@pytest.fixture
async def books(redis: Connection, prefix: str) -> AsyncIterator[Books]:
    metrics = Metrics()
    tenants = Tenants(redis, prefix=prefix, defaults=Tenant("default"))
    budgets = Budgets(
        BudgetStore(redis, prefix=prefix),
        tenants=tenants,
        pricer=Pricer(),
        metrics=metrics,
        clock=lambda: AT,
        default_model=HAIKU,
    )
    yield Books(budgets, metrics, tenants)
    await budgets.close()


def day(usd: float, at_limit: AtLimit = "refuse", **given: Any) -> BudgetRules:
    return BudgetRules(daily=Limit(usd=usd), at_limit=at_limit, **given)


async def test_without_a_budget_nothing_is_reserved(books: Books) -> None:
    assert await books.budgets.admit(books.query(BudgetRules()), "a", AT) is None
    assert await books.budgets.admit(books.query(day(0, enabled=False)), "a", AT) is None


async def test_a_request_holds_the_most_it_may_cost_until_it_is_settled(books: Books) -> None:
    rules = day(1)
    held = await books.budgets.admit(books.query(rules), "a", AT)
    assert isinstance(held, Reservation)
    price = Pricer().cost(OPUS, Usage(held.amount.tokens - 1_000, 1_000), AT)
    assert held.amount.nano == price
    assert (await books.stands(rules))[0] == Balance(Amount(), held.amount)
    books.budgets.settle(row(id="a", cost=700, usage=Usage(10, 5), spent={"retry": 7}))
    await books.budgets.flush()
    assert await books.stands(rules) == [Balance(Amount(707, 15), Amount())] * 2


async def test_at_its_end_a_budget_refuses_and_says_until_when(books: Books) -> None:
    rules = day(1)
    await books.spend(1)
    verdict = await books.budgets.admit(books.query(rules), "a", AT)
    assert isinstance(verdict, Verdict)
    assert (verdict.at_limit, verdict.full and verdict.full.held) == ("refuse", False)
    assert "resets at 2026-11-19T00:00:00Z" in verdict.message
    tomorrow = await books.budgets.admit(books.query(rules), "b", AT + 86_400)
    assert isinstance(tomorrow, Reservation)


@pytest.mark.parametrize("at_limit", ["warn", "cheaper"])
async def test_a_soft_end_lets_in(books: Books, at_limit: AtLimit) -> None:
    rules = day(1, at_limit)
    await books.spend(1)
    held = await books.budgets.admit(books.query(rules), "a", AT)
    assert isinstance(held, Reservation)
    assert held.cheapest == (at_limit == "cheaper")
    model = HAIKU if held.cheapest else OPUS
    tokens = held.amount.tokens
    assert held.amount.nano == Pricer().cost(model, Usage(tokens - 1_000, 1_000), AT)


async def test_what_is_of_the_cheapest_tier_already_stays_as_it_is(books: Books) -> None:
    await books.spend(1)
    held = await books.budgets.admit(books.query(day(1, "cheaper"), model=HAIKU), "a", AT)
    assert isinstance(held, Reservation)
    assert not held.cheapest


async def test_a_key_has_its_own_end_within_its_tenants(books: Books) -> None:
    rules = day(100, keys={KEY: KeyBudget(daily=Limit(usd=1), at_limit="cache-only")})
    await books.spend(1, key_id=KEY)
    verdict = await books.budgets.admit(books.query(rules), "a", AT)
    assert isinstance(verdict, Verdict)
    assert verdict.at_limit == "cache-only"
    assert "this key's" in verdict.message
    other = await books.budgets.admit(books.query(rules, key="f" * 16), "b", AT)
    assert isinstance(other, Reservation)


async def test_auto_is_reserved_at_the_middle_tiers_price(books: Books) -> None:
    held = await books.budgets.admit(books.query(day(1), model="auto"), "a", AT)
    assert isinstance(held, Reservation)
    usage = Usage(held.amount.tokens - 1_000, 1_000)
    assert held.amount.nano == Pricer().cost(RoutingRules().tiers.middle, usage, AT)


async def test_one_who_asks_again_is_not_refused_for_what_was_not_told_yet(books: Books) -> None:
    """The settlement of the last answer is written behind it; the next request may be faster."""
    rules = day(0.000_001)
    first = await books.budgets.admit(books.query(rules), "a", AT)
    assert isinstance(first, Reservation)
    books.budgets.settle(row(id="a", cost=1))
    assert isinstance(await books.budgets.admit(books.query(rules), "b", AT), Reservation)


async def test_bills_without_a_reservation_are_booked_together_and_wholly(books: Books) -> None:
    for n in range(20):
        books.budgets.settle(row(id=f"a{n}", cost=1))
    assert len(books.budgets._waiting) == 1
    booked = asyncio.create_task(books.budgets.flush())
    for n in range(50):  # some while the sum before is on its way
        books.budgets.settle(row(id=f"b{n}", cost=1))
        await asyncio.sleep(0)
    await booked
    await books.budgets.flush()
    assert [one.spent.nano for one in await books.stands(day(1))] == [70, 70]


async def test_bills_are_booked_soon_without_anybody_who_asks_for_it(books: Books) -> None:
    books.budgets.settle(row(id="a", cost=1))
    await until(lambda: not books.budgets._waiting)
    assert (await books.stands(day(1)))[0].spent.nano == 1


async def test_a_budget_counts_what_was_spent_just_before_it_was_set(books: Books) -> None:
    books.budgets.settle(row(id="a", cost=2 * NANO))
    refused = await books.budgets.admit(books.query(day(1)), "b", AT)
    assert isinstance(refused, Verdict)


async def test_what_is_summed_is_booked_before_the_end(books: Books) -> None:
    books.budgets.settle(row(id="a", cost=1))
    await books.budgets.close()
    assert (await books.stands(day(1)))[0].spent.nano == 1


async def test_hits_are_not_booked_and_cost_no_trip(books: Books) -> None:
    books.budgets.settle(hit(id="a"))
    assert await books.stands(day(1)) == [Balance(Amount(), Amount())] * 2


async def test_who_shared_anothers_answer_gives_back_what_was_held(books: Books) -> None:
    held = await books.budgets.admit(books.query(day(1)), "a", AT)
    assert isinstance(held, Reservation)
    books.budgets.settle(hit(id="a"))
    await books.budgets.flush()
    assert await books.stands(day(1)) == [Balance(Amount(), Amount())] * 2


async def test_a_bill_that_never_came_counts_as_the_most_it_can_be(books: Books) -> None:
    held = await books.budgets.admit(books.query(day(1)), "a", AT)
    assert isinstance(held, Reservation)
    lost: dict[str, Any] = {"cost": None, "call": None, "usage": Usage()}
    books.budgets.settle(row(id="a", unknown=Bounds(1), **lost))
    books.budgets.settle(row(id="b", unknown=Bounds(3, 20), **lost))
    books.budgets.settle(row(id="c", unknown=Bounds(400), **lost))
    await books.budgets.flush()
    spent = Amount(held.amount.nano + 420, held.amount.tokens)
    assert (await books.stands(day(1)))[0] == Balance(spent, Amount())


async def test_background_work_counts_in_the_tenants_own_day(books: Books) -> None:
    rules = day(1, utc_offset_min=840)
    await books.tenants.put(replace(Tenant("acme"), budgets=rules))
    await books.spend(0.5, outcome="background", key_id=None)
    assert (await books.stands(rules))[0].spent.nano == NANO // 2
    assert budget.periods(AT, 840)[0].id != budget.periods(AT)[0].id
    assert (await books.stands(day(1)))[0].spent.nano == 0


class HungUp(BudgetStore):
    """Whose caller leaves when the reservation is made, and before the reply is read."""

    async def reserve(self, *words: Any, **named: Any) -> Held:
        await super().reserve(*words, **named)
        raise asyncio.CancelledError


async def test_a_request_given_up_at_the_door_holds_nothing(
    books: Books, redis: Connection, prefix: str
) -> None:
    rules = day(1)
    store, books.budgets.store = books.budgets.store, HungUp(redis, prefix=prefix)
    with pytest.raises(asyncio.CancelledError):
        await books.budgets.admit(books.query(rules), "a", AT)
    books.budgets.store = store
    await books.budgets.flush()
    assert (await books.stands(rules))[0].reserved == Amount()


async def test_with_the_store_away_the_rules_say_whether_to_go_on(tmp_path: Any) -> None:
    metrics = Metrics()
    away = connect(f"unix://{tmp_path}/nobody.sock")
    budgets = Budgets(
        BudgetStore(away),
        tenants=Tenants(away, defaults=Tenant("default")),
        pricer=Pricer(),
        metrics=metrics,
        clock=lambda: AT,
        default_model=HAIKU,
    )
    tenant = Tenant("acme")
    opened = asked(replace(tenant, budgets=day(1)))
    assert await budgets.admit(opened, "a", AT) is None
    shut = asked(replace(tenant, budgets=day(1, store_away="closed")))
    verdict = await budgets.admit(shut, "b", AT)
    assert isinstance(verdict, Verdict)
    assert verdict.full is None
    assert b'swallowed_total{site="budget"}' in metrics.render()
    await budgets.close(patience_s=0)
    assert b'cacheserver_dropped_total{buffer="budget"} 2.0' in metrics.render()
    await away.aclose()


async def test_an_older_model_that_is_cheaper_is_not_moved_to_the_cheapest_tier(
    books: Books,
) -> None:
    rules = replace(day(1, "cheaper"))
    await books.spend(1)
    cheap = replace(Tenant("acme"), budgets=rules, routing=RoutingRules(tiers=Tiers(low=OPUS)))
    held = await books.budgets.admit(asked(cheap, model=HAIKU), "a", AT)
    assert isinstance(held, Reservation)
    assert not held.cheapest
    unpriced = await books.budgets.admit(asked(cheap, model="claude-unheard-of"), "b", AT)
    assert isinstance(unpriced, Reservation)
    assert unpriced.cheapest


async def test_rows_are_booked_on_their_way_to_the_ledger(
    books: Books, redis: Connection, prefix: str
) -> None:
    ledger = Ledger(redis, prefix=prefix)
    booked = LedgerFanOut(ledger, [books.budgets.settle])
    await booked.written(booked.append(row(cost=5, usage=Usage(1, 1))))
    await books.budgets.flush()
    assert (await books.stands(day(1)))[0].spent == Amount(5, 2)
    assert len([one async for one in LedgerExport(redis, prefix=prefix).rows(AT - 9, AT + 9)]) == 1
    await ledger.close()
