"""Live prices over time: each call has the price of its hour, and a bad change harms no other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cacheserver.core.errors import BadRequest
from cacheserver.core.types import Usage
from cacheserver.live.documents import LiveDocuments
from cacheserver.pricing import price_changes
from cacheserver.pricing.price_changes import PriceChanges
from cacheserver.pricing.price_table import PriceTable
from cacheserver.pricing.prices import Pricer
from cacheserver.storage.connection import Connection
from tests.api.admin import ADMIN, put
from tests.house import MODEL, House
from tests.live.test_live_prices import listed
from tests.live.test_safe_changes import counted, stored

HOUR = 3_600
TEN = 1_796_000_400.0 // HOUR * HOUR  # ten o'clock in what follows
HAIKU = "claude-haiku-5-5"


def after(*changes: tuple[float, Any]) -> dict[str, Any]:
    """What is stored after changes of Haiku's prices, each so many hours after ten."""
    own: dict[str, Any] = {}
    for hours, change in changes:
        own = dict(price_changes.merged(own, {HAIKU: change}, TEN + hours * HOUR))
    return own


def cost(own: dict[str, Any], hours: float) -> int | None:
    pricer = Pricer()
    pricer.use(price_changes.read(own))
    return pricer.cost(HAIKU, Usage(1_000), TEN + hours * HOUR)


def test_a_call_has_the_price_of_its_hour_whenever_it_is_priced() -> None:
    base = cost({}, 0)
    own = after((0, {"input": 1}), (2.5, {"input": 2}), (2.6, {"input": 3}), (4, None))
    expected = {-0.1: base, 0: 10**6, 1: 10**6, 2.1: 3 * 10**6, 3.9: 3 * 10**6, 4: base, 9: base}
    assert {hours: cost(own, hours) for hours in expected} == expected
    assert price_changes.latest(own) == {}
    assert price_changes.read(own).digest == ""


def test_changes_are_kept_for_two_days_and_no_longer() -> None:
    own = after((0, {"input": 1}), (2, {"input": 2}), (50, {"input": 3}))
    assert [one["input"] for one in own[HAIKU]] == ["2", "3"]
    assert [one["input"] for one in after((0, {"input": 1}), (48, {"input": 2}))[HAIKU]] == [
        "1",
        "2",
    ]
    gone = after((0, {"input": 1}), (1, None), (50, None))
    assert gone == {}
    assert after((0, {"input": 1}), (0.5, None)) == {}  # it held for no hour


def test_a_clock_that_is_behind_does_not_go_before_the_last_change() -> None:
    own = after((5, {"input": 1}), (3, {"input": 2}))
    assert [one["since"] for one in own[HAIKU]] == [TEN + 5 * HOUR]
    assert cost(own, 5) == 2 * 10**6


def test_the_first_form_of_a_change_is_read_and_continued() -> None:
    first: dict[str, Any] = {HAIKU: {"input": "1", "since": int(TEN)}}
    assert cost(first, 0) == 10**6
    own = price_changes.merged(first, {HAIKU: {"input": 2}}, TEN + HOUR)
    assert (cost(dict(own), 0), cost(dict(own), 1)) == (10**6, 2 * 10**6)


def test_a_new_step_begins_with_the_admins_own_price_of_the_step_below() -> None:
    own = after((0, {"input": 9, "long_prompts": {"50000": {"output": 8}, "60000": {"input": 7}}}))
    pricer = Pricer()
    pricer.use(price_changes.read(own))
    steps = dict(pricer.steps(HAIKU, TEN))
    assert (steps[50_000].input, steps[50_000].output) == (Decimal(9), Decimal(8))
    assert (steps[60_000].input, steps[60_000].output) == (Decimal(7), Decimal(8))
    batch = pricer.rates(HAIKU, TEN, tier="batch")
    assert batch is not None
    assert batch.input == Decimal("4.5")
    assert steps[100_000] == dict(Pricer().steps(HAIKU, TEN))[100_000]


async def test_there_are_sixteen_steps_at_most(house: House) -> None:
    steps: dict[str, Any] = {str(over): {"input": 1} for over in range(1_000, 17_000, 1_000)}
    await put(house, "prices", prices={MODEL: {"long_prompts": steps}})
    for more in ({"500": {"input": 1}}, {str(over + 1): {"input": 1} for over in range(50_000)}):
        body = {"prices": {MODEL: {"long_prompts": more}}}
        got = await house.http.put("/admin/v1/prices", headers=ADMIN, json=body)
        assert got.status_code == 400
        assert got.json()["error"]["message"].startswith(f"`{MODEL}.long_prompts`"), got.text
    with pytest.raises(BadRequest, match="at most 16 steps"):
        price_changes.read({MODEL: [{"since": 0, "long_prompts": {**steps, "5": {"input": 1}}}]})


async def test_a_model_that_cannot_be_read_is_left_out_alone(
    tmp_path: Path, url: str, prefix: str, redis: Connection
) -> None:
    good = [{"since": 0, "input": "3"}]
    bad = [{"since": 0, "input": "-1"}]
    document = {"claude-bad": bad, MODEL: good, "claude-odd": 5, "claude-none": []}
    await stored(redis, prefix, "prices", document)
    async with House.open(tmp_path, redis_url=url, redis_prefix=prefix[1:]) as house:
        assert (await listed(house))[MODEL]["own"] == good[0]
        metrics = (await house.http.get("/metrics", headers=ADMIN)).text
        assert 'cacheserver_swallowed_total{site="live-prices"} 3.0' in metrics
        assert await counted(house, "live-prices")
        await put(house, "prices", prices={MODEL: {"output": 4}})
        one = (await listed(house))[MODEL]["standard"]
        assert (one["input"], one["output"]) == ("3", "4")
        await put(house, "prices", prices={"claude-bad": None, "claude-odd": None})
        kept = await LiveDocuments(redis, prefix=prefix[1:]).read()
        assert b"claude-bad" not in kept["prices"]
        assert b"claude-none" in kept["prices"]


async def test_only_the_role_all_changes_prices(house: House) -> None:
    body = {"name": "ann", "role": "tune"}
    made = await house.http.post("/admin/v1/admin-keys", headers=ADMIN, json=body)
    tune = {"x-api-key": made.json()["key"]}
    free = {"prices": {MODEL: dict.fromkeys(("input", "output"), 0)}}
    assert (await house.http.put("/admin/v1/prices", headers=tune, json=free)).status_code == 403


@dataclass(frozen=True, slots=True)
class _Interrupted(PriceTable):
    """A table with which a thread is held up while another one changes the prices."""

    pricers: list[Pricer] = field(default_factory=list)

    def knows(self, model: str, day: date) -> bool:
        if self.pricers:
            self.pricers.pop().use(PriceChanges())
        return False


def test_a_price_that_was_being_computed_does_not_outlive_a_change() -> None:
    table = _Interrupted()
    for price in (Pricer.cost, lambda *given: Pricer.price(*given).cost):  # type: ignore[union-attr]
        pricer = Pricer(table)
        pricer.use(price_changes.read(after((0, {"input": 1}))))
        table.pricers.append(pricer)
        assert price(pricer, HAIKU, Usage(1_000), TEN) == 10**6
        assert price(pricer, HAIKU, Usage(1_000), TEN) == cost({}, 0)
