"""Bars tried on what was asked lately, and shadow reports at any bar, through the front door."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cacheserver.matching.language import VETO_NAMES
from cacheserver.simulated import Directives
from tests.house import ADMIN_KEY, House, came_from

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
PARIS, SIMILAR = "What is the capital of France?", "What's the capital of France?"
LESS_ALIKE = "Which city is the capital of the country France?"
BARS = "/admin/v1/tenants/default/bars"


def answering(body: Mapping[str, Any]) -> Directives:
    """A Claude that says something else where the question is abbreviated."""
    if "what's" in str(body["messages"][-1]["content"]).lower():
        return Directives(text="Berlin has been the capital of Germany since 1990.")
    return Directives(text="The capital of France has been Paris since 987.")


@pytest.fixture
async def calibrated(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path, claude=answering, similarity=None, target=0.5) as house:
        yield house


async def put(house: House, path: str, **fields: Any) -> dict[str, Any]:
    response = await house.http.put(path, headers=ADMIN, json=fields)
    assert response.status_code == 200, response.text
    found = response.json()
    assert isinstance(found, dict)
    return found


async def tried(house: House, **fields: Any) -> dict[str, Any]:
    change = await put(house, BARS, dry_run=True, **fields)
    found = change["would_have"]
    assert isinstance(found, dict)
    return found


async def test_a_dry_run_shows_what_another_threshold_would_have_served(house: House) -> None:
    await house.ask(PARIS)
    hit, miss = await house.ask(SIMILAR), await house.ask(LESS_ALIKE)
    assert [came_from(one)[0] for one in (hit, miss)] == ["semantic", "miss"]
    strict = (await tried(house, bar={"similarity": 1.0}))["replayed"]
    assert (strict["decisions"], strict["untold"]) == (2, 0)
    assert (strict["hits_before"], strict["hits_after"]) == (1, 0)
    assert (strict["begun"], strict["ended"]) == (0, 1)
    assert strict["reasons"] == {"below-threshold": 2}
    assert strict["saved_before_usd"] == hit.headers["x-saved-usd"]
    assert strict["saved_after_usd"] == "0.000000000"
    loose = (await tried(house, bar={"similarity": 0.5}))["replayed"]
    assert (loose["hits_before"], loose["hits_after"], loose["begun"]) == (1, 2, 1)
    assert float(loose["saved_after_usd"]) == pytest.approx(
        float(hit.headers["x-saved-usd"]) + float(miss.headers["x-cost-usd"])
    )
    assert came_from(await house.ask("Whats the capital of France?"))[0] != "bypass"
    shown = (await house.http.get(BARS, headers=ADMIN)).json()
    assert shown["tenant"]["similarity"] == 0.95  # nothing has changed
    assert (await house.http.get(f"{BARS}/history", headers=ADMIN)).json()["items"] == []


async def test_a_probability_that_was_recorded_is_held_to_another_target(
    calibrated: House,
) -> None:
    await calibrated.ask(PARIS)
    assert came_from(await calibrated.ask(SIMILAR))[0] == "semantic"
    less = await calibrated.ask(LESS_ALIKE)
    probability = float(less.headers["x-cache-probability"])
    strict = (await tried(calibrated, bar={"target": 0.001}))["replayed"]
    assert (strict["decisions"], strict["untold"]) == (2, 0)
    assert strict["hits_after"] == 0
    by_hand = (await tried(calibrated, bar={"similarity": 0.5}))["replayed"]
    assert by_hand["hits_after"] == 2
    expected = by_hand["expected_wrong"]
    assert expected >= 1 - probability - 1e-6
    closed = (await tried(calibrated, bar={"exact_only": True}))["replayed"]
    assert (closed["hits_after"], closed["saved_after_usd"]) == (0, "0.000000000")


async def test_what_no_record_tells_is_counted_apart(house: House) -> None:
    await house.ask(PARIS)
    await house.ask(SIMILAR)  # by a threshold: no probability was asked for
    found = (await tried(house, bar={"target": 0.1}))["replayed"]
    assert (found["decisions"], found["untold"], found["hits_after"]) == (1, 1, 0)


async def test_a_dry_run_names_the_questions_that_begin_and_end(house: House) -> None:
    await house.ask(PARIS)
    hit, miss = await house.ask(SIMILAR), await house.ask(LESS_ALIKE)
    loose = (await tried(house, bar={"similarity": 0.5}))["questions"]
    assert loose["next"] is None
    (begins,) = loose["items"]
    assert (begins["change"], begins["asked"], begins["question"]) == ("begins", LESS_ALIKE, PARIS)
    assert begins["decision_id"] == miss.headers["x-cache-decision"]
    assert begins["entry"] == hit.headers["x-cache-entry"]
    assert begins["similarity"] == float(miss.headers["x-cache-similarity"])
    assert (begins["probability"], begins["veto"], begins["wrong"]) == (None, None, None)
    assert begins["answer"] == hit.json()["content"][0]["text"]
    assert begins["worth_usd"] == miss.headers["x-cost-usd"]
    (ends,) = (await tried(house, bar={"similarity": 1.0}))["questions"]["items"]
    assert (ends["change"], ends["asked"], ends["question"]) == ("ends", SIMILAR, PARIS)
    assert ends["worth_usd"] == hit.headers["x-saved-usd"]
    same = await tried(house, bar={"similarity": 0.951})
    assert same["questions"] == {"items": [], "next": None}


async def test_a_dry_run_under_a_threshold_keeps_vetoes_and_says_which_one_is_lifted(
    house: House,
) -> None:
    await put(house, BARS, bar={"target": 0.01})
    await house.ask("How do I enable dark mode in the settings of the app?")
    await house.ask("How do I disable dark mode in the settings of the app?")
    held = await tried(house, bar={"similarity": 0.9})
    assert (held["replayed"]["untold"], held["replayed"]["hits_after"]) == (0, 0)
    lifted = await tried(house, bar={"similarity": 0.9, "vetoes_off": ["antonym"]})
    (one,) = lifted["questions"]["items"]
    assert (one["change"], one["veto"]) == ("begins", "antonym")
    # How likely it is was never asked for: under a target it cannot be told.
    target = await tried(house, bar={"target": 0.02, "vetoes_off": ["antonym"]})
    assert (target["replayed"]["untold"], target["questions"]["items"]) == (1, [])


async def test_the_veto_that_would_end_a_hit_is_named(house: House) -> None:
    await put(house, BARS, bar={"similarity": 0.9, "vetoes_off": ["antonym"]})
    await house.ask("How do I enable dark mode in the settings of the app?")
    hit = await house.ask("How do I disable dark mode in the settings of the app?")
    assert came_from(hit)[0] == "semantic"
    (one,) = (await tried(house, bar={"similarity": 0.9}))["questions"]["items"]
    assert (one["change"], one["veto"]) == ("ends", "antonym")


async def test_sums_are_scaled_to_a_day_once_they_cover_an_hour(house: House) -> None:
    await house.ask(PARIS)
    hit, miss = await house.ask(SIMILAR), await house.ask(LESS_ALIKE)
    assert (await tried(house, bar={"similarity": 0.5}))["per_day"] is None
    began = float((await house.http.get("/v1/decisions")).json()["items"][-1]["at"])
    hour = began // 3_600 * 3_600  # from which on decisions are kept
    house.clock.ahead_s = hour + 43_200 - time.time()  # half a day later
    found = (await tried(house, bar={"similarity": 0.5}))["per_day"]
    assert found["covers_s"] == pytest.approx(43_200, abs=30)
    assert (found["hits_before"], found["hits_after"]) == (2, 4)
    saved, cost = (float(hit.headers["x-saved-usd"]), float(miss.headers["x-cost-usd"]))
    assert float(found["saved_before_usd"]) == pytest.approx(2 * saved, rel=0.01)
    assert float(found["saved_after_usd"]) == pytest.approx(2 * (saved + cost), rel=0.01)


async def test_wrong_hits_are_foreseen_before_and_after_with_an_interval(
    calibrated: House,
) -> None:
    await put(calibrated, BARS, bar={"target": 0.5, "audit_share": 1.0})
    await calibrated.ask(PARIS)
    for text in ("what is the capital of France?", SIMILAR):  # one right, one wrong
        assert came_from(await calibrated.ask(text))[0] == "semantic"
        await calibrated.parts.calibration.learner.idle()
    found = await tried(calibrated, bar={"exact_only": True})
    before = found["wrong_before"]
    assert (before["hits"], before["labels"]) == (2, 2)
    assert 0 < before["low"] < before["expected"] < before["high"] < 2
    assert found["wrong_after"] is None
    loose = await tried(calibrated, bar={"similarity": 0.5})
    after, rate = loose["wrong_after"], loose["labels"]["wrong_rate"]
    assert after["expected"] == pytest.approx(after["hits"] * rate, abs=0.005)


async def test_labels_say_which_of_the_questions_would_be_wrong(calibrated: House) -> None:
    await put(calibrated, BARS, bar={"target": 0.5, "audit_share": 1.0})
    await calibrated.ask(PARIS)
    lower = "what is the capital of France?"
    for text in (lower, SIMILAR):  # the audit finds the first right, the second wrong
        assert came_from(await calibrated.ask(text))[0] == "semantic"
        await calibrated.parts.calibration.learner.idle()
    items = (await tried(calibrated, bar={"exact_only": True}))["questions"]["items"]
    assert {one["asked"]: one["wrong"] for one in items} == {SIMILAR: True, lower: False}


async def test_questions_come_by_page_the_latest_first(house: House) -> None:
    cities = ["Rome", "Oslo", "Bern", "Riga", "Lima"]
    await put(house, BARS, bar={"similarity": 1.0})
    await house.ask("What is the capital of France")
    for city in cities:
        await house.ask(f"What is the capital of France? Is it {city}?")
    lifted = {"similarity": 0.3, "vetoes_off": [*VETO_NAMES]}
    seen, cursor = [], None
    while True:
        page = (await tried(house, bar=lifted, limit=2, cursor=cursor))["questions"]
        assert len(page["items"]) <= 2
        seen += [one["asked"].split()[-1][:-1] for one in page["items"]]
        if (cursor := page["next"]) is None:
            break
        await house.ask(f"What is the capital of France? Or {len(seen)}?")  # it moves no page
    assert seen == cities[::-1]
    for field, values in {"limit": (0, 51, True, "2", None), "cursor": ("x", "nan:1", 3)}.items():
        for value in values:
            given = {"bar": lifted, "dry_run": True, field: value}
            refused = await house.http.put(BARS, headers=ADMIN, json=given)
            assert refused.status_code == 400, (field, value)
            assert f"`{field}`" in refused.json()["error"]["message"]
    wet = await house.http.put(BARS, headers=ADMIN, json={"bar": lifted, "limit": 2})
    assert wet.status_code == 400


async def test_another_tenants_questions_are_in_no_dry_run(house: House) -> None:
    one, two = await house.key("one"), await house.key("two")
    for key in (one, two):
        await house.ask(PARIS, key=key)
        await house.ask(LESS_ALIKE, key=key)
    path = "/admin/v1/tenants/one/bars"
    found = (await put(house, path, bar={"similarity": 0.5}, dry_run=True))["would_have"]
    assert found["replayed"]["decisions"] == len(found["questions"]["items"]) == 1


async def test_only_where_the_bar_changes_is_anything_replayed(house: House) -> None:
    await house.ask(PARIS)
    hit = await house.ask(SIMILAR)
    await house.ask(PARIS, headers={"x-cache-namespace": "faq"})
    await house.ask(SIMILAR, headers={"x-cache-namespace": "faq"})
    faq = await tried(house, level="namespace", name="faq", bar={"similarity": 1.0})
    assert (faq["replayed"]["decisions"], faq["replayed"]["ended"]) == (1, 1)
    path = f"/v1/decisions/{hit.headers['x-cache-decision']}"
    scope = (await house.http.get(path)).json()["scope"]
    one = await tried(house, level="scope", name=scope, bar={"exact_only": True})
    assert one["replayed"]["ended"] >= 1
    same = await tried(house, bar={"similarity": 0.95})
    assert same["replayed"]["decisions"] == 0


async def test_labels_say_how_much_of_it_was_wrong(calibrated: House) -> None:
    await put(calibrated, BARS, bar={"target": 0.5, "audit_share": 1.0})
    await calibrated.ask(PARIS)
    assert came_from(await calibrated.ask(SIMILAR))[0] == "semantic"
    await calibrated.parts.calibration.learner.idle()
    labels = (await tried(calibrated, bar={"similarity": 0.5}))["labels"]
    assert (labels["hits"], labels["wrong"], labels["wrong_rate"]) == (1, 1, 1.0)
    assert 0 < labels["wrong_low"] < labels["wrong_high"] == 1
    none = await tried(calibrated, bar={"exact_only": True})
    assert none["labels"] is None


async def test_what_shadow_mode_compared_is_part_of_a_dry_run(calibrated: House) -> None:
    await put(calibrated, "/admin/v1/tenants/default", shadow=True)
    await calibrated.ask(PARIS)
    for text in (LESS_ALIKE, SIMILAR):
        await calibrated.ask(text)
        await calibrated.parts.calibration.learner.idle()
    shadow = (await tried(calibrated, bar={"similarity": 0.5}))["shadow"]
    assert (shadow["hits"], shadow["wrong"]) == (2, 1)
    assert float(shadow["saved_usd"]) > 0
    strict = await tried(calibrated, bar={"similarity": 1.0})
    assert strict["shadow"] is None


async def test_a_shadow_report_can_be_asked_for_at_any_bar(calibrated: House) -> None:
    await put(calibrated, "/admin/v1/tenants/default", shadow=True)
    await calibrated.ask(PARIS)
    await calibrated.ask("Who wrote the play about the prince of Denmark?")
    for text in (LESS_ALIKE, SIMILAR):
        await calibrated.ask(text)
        await calibrated.parts.calibration.learner.idle()
    path = "/admin/v1/tenants/default/shadow?similarity=0.5&probability=1&target=0.2"
    report = (await calibrated.http.get(path, headers=ADMIN)).json()
    assert (report["asked"], report["compared"]) == (4, 3)  # nothing came near the first
    loose = report["similarity"]["at"]
    assert (loose["hits"], loose["wrong"], loose["hit_rate"]) == (2, 1, 0.5)
    assert loose["wrong_low"] < loose["wrong_rate"] == 0.5 < loose["wrong_high"]
    assert float(loose["saved_usd"]) > 0
    strict = report["probability"]["at"]
    assert (strict["hits"], strict["saved_usd"]) == (0, "0.000000000")
    assert [p["hits"] for p in report["similarity"]["curve"]] == [1, 2, 3]
    assert all("saved_usd" in point for point in report["similarity"]["curve"])
