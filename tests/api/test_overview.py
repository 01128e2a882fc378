"""The overview, each figure against the call that gives it, and live counts as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver.api.resources.overview import report
from cacheserver.api.resources.overview.report import periods
from cacheserver.ledger import sums
from cacheserver.observability.live_feed import LISTENERS
from tests.house import ADMIN_KEY, House
from tests.ledger.rows import hit, row

ADMIN = {"x-api-key": ADMIN_KEY}
OVERVIEW, LIVE = "/admin/v1/overview", "/admin/v1/live"


async def get(house: House, call: str, **params: str) -> dict[str, Any]:
    got = await house.http.get(call, params=params or None, headers=ADMIN)
    assert got.status_code == 200, got.text
    found: dict[str, Any] = got.json()
    return found


async def test_each_figure_is_that_of_the_call_beside_it(tmp_path: Path) -> None:
    async with House.open(tmp_path, similarity=0.7) as house:
        key = await house.key("acme")
        for text in ("How do I reset my password?", "How can I reset my password?"):
            await house.ask(text, key=key)
            await house.ask(text, key=key)
        await house.ask("What is a rake?", key=await house.key("beta"))
        for at, cost in ((2, 5_000_000), (9, 7_000_000), (70, 11_000_000)):
            old = row(at=house.clock() - at * 86_400, tenant="acme", cost=cost)
            house.parts.ledger.append(old)
        for tenant in (None, "acme"):
            found = await get(house, OVERVIEW, **({} if tenant is None else {"tenant": tenant}))
            for period in ("today", "week", "month"):
                shown = found["money"][period]
                totals = (await get(house, shown["call"]))["totals"]
                assert {name: totals[name] for name in shown if name in totals} == {
                    name: value for name, value in shown.items() if name in totals
                }
                assert len(totals.keys() & shown.keys()) >= 9
            groups = (await get(house, found["hits"]["call"]))["groups"]
            assert {one["decision"]: one["requests"] for one in groups} == {
                kind: count for kind, count in found["hits"]["decisions"].items() if count
            }
            for unit in ("hours", "days"):
                columns = found[unit]
                groups = (await get(house, columns["call"]))["groups"]
                assert sum(one["requests"] for one in groups) == sum(columns["requests"])
                paid = sum(Decimal(one["paid_usd"]) for one in groups)
                assert paid == sum(map(Decimal, columns["paid_usd"]))
                assert {len(each) for each in columns.values() if isinstance(each, list)} == {
                    {"hours": 48, "days": 30}[unit]
                }
            for count in found["counts"].values():
                assert await get(house, count["call"]) is not None
        everybody, acme = await get(house, OVERVIEW), await get(house, OVERVIEW, tenant="acme")
        assert everybody["money"]["today"]["requests"] == 5
        assert acme["money"]["today"]["requests"] == 4
        assert acme["hits"]["decisions"]["semantic"] >= 1
        assert acme["hours"]["requests"][-2:] in ([0, 4], [4, 0], [1, 3], [2, 2], [3, 1])
        assert sum(acme["days"]["requests"]) == 6  # two of them are older than today
        assert everybody["counts"]["entries"]["count"] > acme["counts"]["entries"]["count"] > 0
        assert everybody["counts"]["tenants"]["count"] == 2
        assert acme["counts"]["near_decisions"]["count"] >= 1
        wrong = acme["wrong_hits"]
        assert (await get(house, wrong["call"]))["wrong_hits"].items() <= wrong.items()
        assert (wrong["share"], wrong["interval"], wrong["target"]) == (None, [0.0, 1.0], None)
        latency = everybody["latency"]["by_decision"]
        assert latency["miss"]["requests"] == 2
        assert 0 < latency["exact"]["p50_ms"] <= latency["exact"]["p95_ms"]
        assert latency["bypass"] is None


async def test_targets_are_those_of_the_tenants_with_requests_and_deleted_ones_are_named(
    house: House,
) -> None:
    async def ask(tenant: str, target: float) -> None:
        key, bar = await house.key(tenant), {"bar": {"target": target}}
        put = await house.http.put(f"/admin/v1/tenants/{tenant}", headers=ADMIN, json=bar)
        assert put.status_code == 200, put.text
        await house.ask("Capital of France?", key=key)

    await ask("shop", 0.02)
    wrong = (await get(house, OVERVIEW))["wrong_hits"]
    assert (wrong["target"], wrong["targets"]) == (0.02, [0.02, 0.02])
    await ask("acme", 0.05)
    found = await get(house, OVERVIEW)
    assert found["deleted_tenants"] == []
    assert (found["wrong_hits"]["target"], found["wrong_hits"]["targets"]) == (None, [0.02, 0.05])
    gone = await house.http.request(
        "DELETE", "/admin/v1/tenants/acme", headers=ADMIN, json={"confirm": "acme"}
    )
    assert gone.status_code == 200, gone.text
    assert (await get(house, OVERVIEW))["deleted_tenants"] == ["acme"]


async def test_a_new_server_has_an_overview_of_nothing(house: House) -> None:
    found = await get(house, OVERVIEW)
    assert found["money"]["month"]["requests"] == 0
    assert found["hits"]["hit_rate"] is None
    assert set(found["hours"]["requests"]) == {0}
    assert found["alerts"]["count"] == 0
    assert found["money"]["today"]["comparisons"]["opus"] is None


async def test_savings_are_beside_the_bills_of_other_models(house: House) -> None:
    await house.ask("Capital of France?")
    await house.ask("Capital of France?")
    today = (await get(house, OVERVIEW))["money"]["today"]
    assert today["comparisons"]["opus"]["requests"] == 2
    opus, sonnet = (Decimal(today["comparisons"][name]["usd"]) for name in ("opus", "sonnet"))
    assert opus == 2 * sonnet > Decimal(today["counterfactual_usd"])


@pytest.mark.parametrize(
    ("day", "first", "month"),
    [
        ("2026-11-29", "2026-10-31", "2026-11-01"),
        ("2026-12-31", "2026-12-01", "2026-12-01"),  # the 31st day of a month is read as well
        ("2027-01-01", "2026-12-03", "2027-01-01"),
    ],
)
def test_days_are_those_shown_and_those_of_the_month(day: str, first: str, month: str) -> None:
    def number(day: str) -> int:
        return int(datetime.fromisoformat(f"{day}T00:00:00Z").timestamp()) // 86_400

    found = periods(datetime.fromisoformat(f"{day}T23:59:59Z").timestamp())
    assert (found.days.start, found.month) == (number(first), number(month))
    assert found.days.stop == number(day) + 1


async def test_a_tenant_sees_its_own_overview_and_nothing_of_others(house: House) -> None:
    key, other = await house.key("acme"), await house.key("beta")
    await house.ask("Capital of France?", key=key)
    for text in ("What is a rake?", "What is a spade?"):
        await house.ask(text, key=other, model="claude-opus-4-8")
    got = await house.http.get("/v1/overview", headers={"x-api-key": key})
    own = got.json()
    assert (own["tenant"], own["money"]["today"]["requests"]) == ("acme", 1)
    assert own["counts"]["entries"]["count"] == 1
    assert own.keys() & {"latency", "alerts"} == set()
    assert "beta" not in got.text
    named = await house.http.get("/v1/overview?tenant=beta", headers={"x-api-key": key})
    assert named.status_code == 400
    for part in (own["money"]["week"], own["hits"], own["days"], own["counts"]["entries"]):
        read = await house.http.get(part["call"], headers={"x-api-key": key})
        assert read.status_code == 200


async def test_alerts_of_the_last_day_are_counted(house: House) -> None:
    alerts = house.parts.alerts.delivery.store
    now = house.clock()
    for kind, age in (("spend", 60), ("errors", 90_000), ("digest", 60)):
        alert = {"id": kind, "kind": kind, "tenant": "default", "at": now - age, "text": "!"}
        await alerts.raise_once(alert, [], once_s=60, now=now)
    found = (await get(house, OVERVIEW))["alerts"]
    assert (found["count"], [one["kind"] for one in found["last"]]) == (1, ["spend"])
    assert (await get(house, OVERVIEW, tenant="default"))["alerts"]["count"] == 1


@pytest.mark.parametrize("route", [OVERVIEW, LIVE])
async def test_only_an_admin_sees_it(house: House, route: str) -> None:
    key = await house.key("acme")
    assert (await house.http.get(route, headers={"x-api-key": key})).status_code == 401
    assert (await house.http.get(route)).status_code == 401


async def test_a_bad_question_is_a_400_naming_the_field(house: House) -> None:
    for params, field in (({"tenant": "nobody"}, "tenant"), ({"tenants": "x"}, "tenants")):
        got = await house.http.get(OVERVIEW, params=params, headers=ADMIN)
        assert got.status_code == 400
        assert got.json()["error"]["message"].startswith(f"`{field}`")


@asynccontextmanager
async def listening(house: House) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The events of the feed."""
    async with house.http.stream("GET", LIVE, headers=ADMIN) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield events(response)


async def events(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    number = -1
    async for line in response.aiter_lines():
        if line.startswith("id:"):
            assert int(line[3:]) == number + 1
            number += 1
        elif line.startswith("data:"):
            yield json.loads(line[5:])


async def test_live_counts_move_with_the_traffic(house: House) -> None:
    await house.ask("Asked before anybody listened?")
    async with listening(house) as feed:
        first = await anext(feed)
        assert (first["now"]["requests"], first["total"]["requests"]) == (0, 0)
        for _ in range(3):
            await house.ask("Capital of France?")
        moved = await anext(feed)
        while moved["total"]["requests"] < 3:
            moved = await anext(feed)
        assert moved["total"]["decisions"] | {"miss": 0, "exact": 0} == {
            **dict.fromkeys(moved["total"]["decisions"], 0)
        }
        decisions = moved["total"]["decisions"]
        assert (decisions["miss"], decisions["exact"]) == (1, 2)
        assert Decimal(moved["total"]["saved_usd"]) == 2 * Decimal(moved["total"]["cost_usd"]) > 0
        assert moved["total"]["latency"]["exact"]["requests"] == 2
        quiet = await anext(feed)
        assert (quiet["now"]["requests"], quiet["total"]["requests"]) == (0, 3)


async def test_so_many_may_listen_and_no_more(house: House) -> None:
    async with AsyncExitStack() as stack:
        feeds = [await stack.enter_async_context(listening(house)) for _ in range(LISTENERS)]
        await asyncio.gather(*(anext(feed) for feed in feeds))
        refused = await house.http.get(LIVE, headers=ADMIN)
        assert refused.status_code == 503
        assert "listen already" in refused.json()["error"]["message"]
    while (await _status(house)) != 200:  # those who left are gone within a moment
        pass


async def _status(house: House) -> int:
    async with house.http.stream("GET", LIVE, headers=ADMIN) as response:
        return response.status_code


async def test_a_feed_ends_as_the_server_stops_and_does_not_hold_it(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx2.AsyncClient(timeout=30))
        async with House.open(tmp_path) as house:
            asked = client.stream("GET", f"{house.url}{LIVE}", headers=ADMIN)
            response = await stack.enter_async_context(asked)
            feed = events(response)
            await anext(feed)
            loop = asyncio.get_running_loop()
            began = loop.time()
        assert loop.time() - began < 8  # it would wait ten seconds for the stream
        async for _ in feed:  # it ends as a whole answer does, not in an error
            pass


def test_rows_of_hits_are_in_the_series_by_outcome() -> None:
    added = dict.fromkeys(sums.NAMES, 0)
    for one in (hit(), row()):
        for place, number in sums.row_sums(one):
            added[sums.NAMES[place]] += number
    columns = report.series({7: added}, range(6, 8), report.DAY_S, "acme")
    assert columns["exact"] == columns["miss"] == [0, 1]
    assert columns["requests"] == [0, 2]
    assert columns["paid_usd"] == ["0.000000000", "0.000020000"]
    assert columns["opus_difference_usd"] == ["0.000000000"] * 2
    added |= {"compared": 2, "compared_cost": 20_000, "opus_bill": 900_000, "sonnet_bill": 10_000}
    columns = report.series({7: added}, range(6, 8), report.DAY_S, None)
    assert columns["opus_difference_usd"] == ["0.000000000", "0.000880000"]
    assert columns["sonnet_difference_usd"] == ["0.000000000", "-0.000010000"]
    assert columns["at"] == [6 * 86_400, 7 * 86_400]
    assert columns["call"].endswith("from=518400&to=691200&group_by=day")
