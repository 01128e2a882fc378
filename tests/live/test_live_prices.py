"""Live prices: what a change does to bills, to the version, and to other servers."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.types import Usage
from cacheserver.pricing import price_changes
from cacheserver.pricing.prices import Pricer, load_overrides
from tests.api.admin import ADMIN, put
from tests.house import MODEL, House

NOW = 1_796_000_000.0  # 2026-11-30
HOUR = 3_600
rates = st.decimals(0, 1_000, places=4, allow_nan=False, allow_infinity=False)


async def listed(house: House) -> dict[str, dict[str, Any]]:
    got = await house.http.get("/admin/v1/prices", headers=ADMIN)
    assert got.status_code == 200, got.text
    return {one["model"]: one for one in got.json()["models"]}


def changed(pricer: Pricer, own: dict[str, Any], now: float = NOW) -> Pricer:
    pricer.use(price_changes.read(price_changes.merged({}, own, now)))
    return pricer


@given(rates, st.integers(1, 10**6), st.integers(0, 10**5))
def test_a_changed_price_bills_exactly_and_leaves_the_others(
    rate: Decimal, tokens: int, output: int
) -> None:
    plain, pricer = Pricer(), changed(Pricer(), {"claude-opus-5": {"input": str(rate)}})
    base = plain.rates("claude-opus-5", NOW)
    assert base is not None
    assert base.output is not None
    exact = (rate * tokens + base.output * output) * 1_000
    found = pricer.cost("claude-opus-5", Usage(tokens, output), NOW)
    assert found == int(exact.to_integral_value())
    priced = pricer.price("claude-opus-5", Usage(tokens, output), NOW)
    assert priced is not None
    assert (priced.cost, priced.version) == (found, pricer.version)
    assert pricer.version != plain.version
    other = Usage(tokens, output)
    assert pricer.cost("claude-haiku-5-5", other, NOW) == plain.cost("claude-haiku-5-5", other, NOW)


def test_a_step_is_changed_alone_and_a_batch_is_half() -> None:
    own = {"claude-haiku-5-5": {"input": 1, "long_prompts": {"50000": {"input": 2}}}}
    pricer, plain = changed(Pricer(), own), Pricer()
    steps = dict(pricer.steps("claude-haiku-5-5", NOW))
    assert {start: rates.input for start, rates in steps.items()} == {
        0: 1,
        50_000: 2,
        100_000: dict(plain.steps("claude-haiku-5-5", NOW))[100_000].input,
    }
    assert steps[50_000].output == dict(plain.steps("claude-haiku-5-5", NOW))[0].output
    batch = pricer.rates("claude-haiku-5-5", NOW, tier="batch")
    assert batch is not None
    assert batch.input == Decimal("0.5")
    assert pricer.cost("claude-haiku-5-5", Usage(60_000, 0), NOW) == 60_000 * 2_000
    tier = Usage(1_000, 0, service_tier="batch")
    assert pricer.cost("claude-haiku-5-5", tier, NOW) == 1_000 * 500


def test_dated_names_have_the_price_of_their_model_and_the_past_keeps_its_own() -> None:
    pricer, plain = changed(Pricer(), {"claude-haiku-4-5": {"input": 7}}), Pricer()
    for name in ("claude-haiku-4-5", "claude-haiku-4-5-20251001", "anthropic/claude-haiku-4-5"):
        assert pricer.cost(name, Usage(1_000, 0), NOW) == 7_000_000
        before = NOW - HOUR
        assert pricer.cost(name, Usage(1_000, 0), before) == plain.cost(name, Usage(1_000, 0), NOW)


def test_the_file_is_the_base_of_a_change_and_its_default() -> None:
    text = """[[price]]
model = "house-model"
input = 3
output = 4
cache_write_5m = 1
cache_write_1h = 1
cache_read = 1
"""
    pricer = changed(Pricer(load_overrides(text)), {"house-model": {"input": "2"}})
    assert pricer.cost("house-model", Usage(1_000, 1_000), NOW) == 6_000_000
    assert pricer.origin("house-model", NOW) == "admin"
    pricer.use(price_changes.read({}))
    assert pricer.cost("house-model", Usage(1_000, 1_000), NOW) == 7_000_000
    assert (pricer.origin("house-model", NOW), pricer.origin(MODEL, NOW)) == ("file", "package")


async def test_the_next_call_has_the_new_price_and_rows_say_by_which(house: House) -> None:
    first = await house.http.post("/v1/query", json={"prompt": "one?", "model": MODEL})
    version = house.parts.pricer.version
    await put(house, "prices", prices={MODEL: {"input": 100, "output": "200"}})
    second = await house.http.post("/v1/query", json={"prompt": "two?", "model": MODEL})
    usage = second.json()["usage"]
    nano = usage["input_tokens"] * 100_000 + usage["output_tokens"] * 200_000
    assert second.json()["cost_usd"] == f"{Decimal(nano) / 10**9:.9f}"
    await house.parts.ledger.flush()
    now = house.clock()
    pages = [page async for page in house.parts.ledger_export.rows(now - HOUR, now + HOUR)]
    rows = [row for page in pages for row in page]
    assert {row["prices"] for row in rows} == {version, house.parts.pricer.version}
    costs = {f"{Decimal(row['cost_nanodollars']) / 10**9:.9f}" for row in rows}
    assert costs == {first.json()["cost_usd"], second.json()["cost_usd"]}  # the past stays
    one = (await listed(house))[MODEL]
    assert (one["origin"], one["standard"]["input"], one["own"]["output"]) == (
        "admin",
        "100",
        "200",
    )
    await put(house, "prices", prices={MODEL: {"input": None}})
    one = (await listed(house))[MODEL]
    assert one["standard"]["input"] == one["base"]["standard"]["input"]
    assert one["standard"]["output"] == "200"
    await put(house, "prices", prices={MODEL: None})
    assert house.parts.pricer.version == version
    assert (await listed(house))[MODEL]["origin"] == "package"


@pytest.mark.parametrize(
    ("prices", "field"),
    [
        ({MODEL: {"inpt": 1}}, f"{MODEL}.inpt"),
        ({MODEL: {"input": -1}}, f"{MODEL}.input"),
        ({MODEL: {"input": True}}, f"{MODEL}.input"),
        ({MODEL: {"input": "NaN"}}, f"{MODEL}.input"),
        ({MODEL: {"input": 1e300}}, f"{MODEL}.input"),
        ({MODEL: {"long_prompts": {"x": {}}}}, f"{MODEL}.long_prompts.x"),
        ({MODEL: {"long_prompts": {"5": {"fast": {}}}}}, f"{MODEL}.long_prompts.5.fast"),
        ({MODEL: 5}, MODEL),
        ({"claude-new": {"input": 1}}, "claude-new.output"),
        ({MODEL: {"fast": {"input": 1}}}, f"{MODEL}.fast.output"),
        (5, "prices"),
    ],
)
async def test_a_wrong_price_is_refused_by_its_name(house: House, prices: Any, field: str) -> None:
    got = await house.http.put("/admin/v1/prices", headers=ADMIN, json={"prices": prices})
    assert got.status_code == 400, got.text
    assert got.json()["error"]["message"].startswith(f"`{field}`"), got.text
    assert not any(one["own"] for one in (await listed(house)).values())


async def test_a_new_model_has_a_price_on_every_server_and_after_a_restart(
    tmp_path: Path, url: str, prefix: str
) -> None:
    shared: dict[str, Any] = {"redis_url": url, "redis_prefix": prefix[1:]}
    kinds = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
    async with House.open(tmp_path, **shared) as house:
        await put(house, "prices", prices={"claude-new": dict.fromkeys(kinds, 2)})
        assert (await listed(house))["claude-new"]["standard"]["output"] == "2"
        changes = (await house.http.get("/admin/v1/audit-trail", headers=ADMIN)).json()["items"][0]
        assert changes["changes"]["prices.claude-new.input"] == {"before": None, "after": "2"}
    async with House.open(tmp_path, **shared) as again:
        assert again.parts.pricer.cost("claude-new", Usage(1_000, 0), again.clock()) == 2_000_000
