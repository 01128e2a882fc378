"""Reports of scopes: traffic, bar, labels and curve, through the front door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.store.decision_filters import ROW
from cacheserver.calibration.scopes.traffic import Bars, Traffic
from cacheserver.calibration.what_if_rules import LabelledCandidate, rate
from cacheserver.core.evidence import Evidence
from cacheserver.matching.calibration import Label
from tests.house import ADMIN_KEY, House

ADMIN = {"x-api-key": ADMIN_KEY}
SUPPORT, TUTOR = "You answer for the support team of a shop.", "You are a tutor."


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path, similarity=None, target=0.05) as one:
        yield one


async def get(house: House, path: str, **params: Any) -> dict[str, Any]:
    got = await house.http.get(f"/admin/v1/{path}", headers=ADMIN, params=params)
    assert got.status_code == 200, got.text
    found = got.json()
    assert isinstance(found, dict)
    return found


async def asked(house: House) -> None:
    """Three requests in one scope, one of them a hit, one in another, and one in none."""
    for text in ("How do I reset my password?", "I forgot my password, what now?"):
        await house.ask(text, system=SUPPORT)
    await house.ask("How do I reset my password?", system=SUPPORT)
    await house.ask("What is the capital of France?", system=TUTOR)
    await house.http.put(
        "/admin/v1/tenants/default", headers=ADMIN, json={"bar": {"similarity": 0.99}}
    )


async def learn(house: House, scope: str, score: float, *, right: bool) -> None:
    states = house.parts.calibration.states
    found = Evidence(score, 0.1, 1, 1, 0.5, 2.0, company=9, recorded_probability=score)
    label = Label(found, right, 1.0, "audit", served=True, embedder=states.embedder)
    await states.learn("default", scope, label)


async def test_scopes_are_listed_by_requests_with_label_traffic_and_bar(house: House) -> None:
    await asked(house)
    page = await get(house, "scopes", tenant="default")
    first, second = page["items"]
    assert page["next"] is None
    assert (first["system"], second["system"]) == (SUPPORT, TUTOR)
    day = first["day"]
    assert (day["requests"], day["exact"], day["miss"]) == (3, 1, 2)
    assert day["hit_rate"] == pytest.approx(1 / 3, abs=1e-6)
    assert float(day["cost_usd"]) > float(day["saved_usd"]) > 0
    assert first["bar"]["similarity"] == 0.99
    assert (first["bar"]["level"], first["bar"]["basis"]) == ("tenant", "threshold")
    assert (first["labels"], first["wrong"]) == (0, None)
    change = {"level": "scope", "name": first["scope"], "bar": {"target": 0.02}}
    done = await house.http.put("/admin/v1/tenants/default/bars", headers=ADMIN, json=change)
    assert done.status_code == 200, done.text
    one = await get(house, "scopes", tenant="default", limit=1)
    assert one["items"][0]["bar"]["level"] == "scope"
    assert (one["items"][0]["bar"]["target"], one["items"][0]["bar"]["basis"]) == (0.02, "prior")
    rest = await get(house, "scopes", tenant="default", limit=1, cursor=one["next"])
    assert [item["scope"] for item in rest["items"]] == [second["scope"]]


async def test_the_curve_of_a_scope_is_of_its_labels_and_the_requests_of_the_day(
    house: House,
) -> None:
    await asked(house)
    scope = (await get(house, "scopes", tenant="default"))["items"][0]["scope"]
    await learn(house, scope, 0.99, right=True)
    await learn(house, scope, 0.4, right=False)
    shown = await get(house, f"scopes/default/{scope}")
    assert (shown["labels"], shown["wrong"]["share"]) == (2, 0.5)
    decisions = (await get(house, "decisions", scope=scope, outcome="miss"))["items"]
    (near,) = (one["decision"] for one in decisions if one["decision"]["similarity"] is not None)
    assert near["veto"] is None
    assert 0.4 < near["similarity"] < 0.99
    curve = (await get(house, f"scopes/default/{scope}/tuning", scale="similarity"))["curve"]
    points = {point["bar"]: point for point in curve}
    assert set(points) == {near["similarity"], 0.99, 0.4}
    assert list(points) == sorted(points, reverse=True)
    assert (points[0.99]["hits"], points[0.99]["labels"], points[0.99]["wrong_rate"]) == (1, 1, 0.0)
    assert (points[0.4]["hits"], points[0.4]["labels"], points[0.4]["wrong_rate"]) == (2, 2, 0.5)
    assert points[0.4]["hit_rate"] == pytest.approx(2 / 3, abs=1e-6)
    assert points[0.4]["wrong_high"] > 0.5 > points[0.4]["wrong_low"]


async def test_what_names_no_scope_is_refused_by_name(house: House) -> None:
    for path, field in (
        ("scopes", "tenant"), ("scopes?tenant=nobody", "tenant"), ("scopes/default/abc", "scope"),
        ("scopes?tenant=default&cursor=x", "cursor"), ("scopes?tenant=default&x=1", "x"),
        (f"scopes/default/{'0' * 64}", "scope"),
    ):  # fmt: skip
        got = await house.http.get(f"/admin/v1/{path}", headers=ADMIN)
        assert got.status_code == 400, path
        assert f"`{field}`" in got.json()["error"]["message"]


@given(
    labels=st.lists(
        st.builds(
            LabelledCandidate,
            st.integers(0, 20).map(lambda number: number / 20),
            st.none() | st.booleans(),
            st.sampled_from([1.0, 3.0, 20.0]),
        ),
        max_size=30,
    )
)
def test_the_wrong_share_of_each_point_is_that_of_the_dry_run(
    labels: list[LabelledCandidate],
) -> None:
    for point in Bars(np.empty(0, ROW), Traffic(), "similarity", labels).points():
        found = rate(labels, point["bar"])
        assert point["labels"] == found.hits - found.unsure
        assert point["wrong"] == found.wrong
        if point["labels"]:
            assert point["wrong_rate"] == pytest.approx(found.wrong_rate, abs=1e-6)
            assert point["wrong_low"] == pytest.approx(found.wrong_low, abs=1e-6)
            assert point["wrong_high"] == pytest.approx(found.wrong_high, abs=1e-6)
        else:
            assert point["wrong_rate"] is None
