"""The tuning report of a scope: steps of a slider, and the questions that change sides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cacheserver.core.evidence import Evidence
from cacheserver.matching.calibration import Label
from tests.house import ADMIN_KEY, House, came_from

ADMIN = {"x-api-key": ADMIN_KEY}
PARIS, SIMILAR = "What is the capital of France?", "What's the capital of France?"
LESS_ALIKE = "Which city is the capital of the country France?"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path, similarity=0.95) as one:
        yield one


async def tuning(house: House, **params: Any) -> dict[str, Any]:
    listed = await house.http.get("/admin/v1/scopes?tenant=default", headers=ADMIN)
    scope = listed.json()["items"][0]["scope"]
    path = f"/admin/v1/scopes/default/{scope}/tuning"
    got = await house.http.get(path, headers=ADMIN, params=params)
    assert got.status_code == 200, got.text
    found = got.json()
    assert isinstance(found, dict)
    return found


async def asked(house: House) -> None:
    await house.ask(PARIS)
    await house.ask(PARIS)
    for text in (SIMILAR, LESS_ALIKE):
        await house.ask(text)


async def test_each_step_has_the_hits_and_the_money_that_its_bar_would_have_had(
    house: House,
) -> None:
    await asked(house)
    found = await tuning(house)
    assert found["scale"] == "similarity"
    strict, *_, loosest = found["steps"]
    assert (strict["set"], strict["bar"], strict["hits"]) == ({"exact_only": True}, None, 1)
    held = found["steps"][found["in_force"]]
    assert (held["set"], held["hits"]) == ({"similarity": 0.95}, 2)
    now = {name: held[name] for name in ("hits", "hit_rate", "saved_usd")}
    assert found["now"] == now
    hit, miss = found["questions"]
    assert 0 < miss["score"] - loosest["set"]["similarity"] < 2e-5
    assert loosest["hits"] == 3
    gained = round((float(loosest["saved_usd"]) - float(held["saved_usd"])) * 1e9)
    assert gained == round(float(miss["worth_usd"]) * 1e9)
    lost = round((float(held["saved_usd"]) - float(strict["saved_usd"])) * 1e9)
    assert lost == round(float(hit["worth_usd"]) * 1e9)
    bars = [step["bar"] for step in found["steps"][1:]]
    assert bars == sorted(bars, reverse=True)
    assert 0 <= found["covers_s"] < 3_600


async def test_the_questions_near_the_bar_come_with_answers_and_verdicts(house: House) -> None:
    await asked(house)
    hit, miss = (await tuning(house))["questions"]
    assert (hit["asked"], hit["question"], hit["served"]) == (SIMILAR, PARIS, True)
    assert (miss["asked"], miss["question"], miss["served"]) == (LESS_ALIKE, PARIS, False)
    assert hit["score"] == hit["similarity"] > 0.95 > miss["score"]
    assert hit["answer"] == miss["answer"] != ""
    assert (hit["wrong"], miss["wrong"]) == (None, None)
    for pair, verdict in ((hit["pair"], "no"), (miss["pair"], "yes")):
        given = {"tenant": "default", "pair": pair, "verdict": verdict, "who": "ann"}
        done = await house.http.post("/admin/v1/labels", headers=ADMIN, json=given)
        assert done.status_code == 200, done.text
    hit, miss = (await tuning(house))["questions"]
    assert (hit["wrong"], miss["wrong"]) == (True, False)
    gone = f"/admin/v1/entries/default/{hit['entry']}"
    assert (await house.http.delete(gone, headers=ADMIN)).status_code == 200
    assert [one["answer"] for one in (await tuning(house))["questions"]] == [None, None]


async def test_those_nearest_to_the_bar_are_shown_and_the_others_counted(house: House) -> None:
    await asked(house)
    one = await tuning(house, limit=1)
    assert len(one["questions"]) == 1
    assert sum(one["left_out"].values()) == 1
    none = await tuning(house, limit=0)
    assert (none["questions"], none["left_out"]) == ([], {"above": 1, "below": 1})


async def test_a_step_that_is_set_makes_a_hit_of_the_miss_it_promised(house: House) -> None:
    await asked(house)
    found = await tuning(house)
    change = {"level": "scope", "name": found["scope"], "bar": found["steps"][-1]["set"]}
    done = await house.http.put("/admin/v1/tenants/default/bars", headers=ADMIN, json=change)
    assert done.status_code == 200, done.text
    newest = (await house.http.get("/admin/v1/entries", headers=ADMIN)).json()["items"][0]
    assert newest["question"] == LESS_ALIKE  # an answer of its own would be an exact hit
    await house.http.delete(f"/admin/v1/entries/default/{newest['id']}", headers=ADMIN)
    assert came_from(await house.ask(LESS_ALIKE))[0] == "semantic"
    after = await tuning(house)
    assert after["steps"][after["in_force"]]["set"] == change["bar"]


async def test_the_steps_of_probability_are_targets_with_what_each_asks_for(
    tmp_path: Path,
) -> None:
    async with House.open(tmp_path, similarity=None, target=0.02) as house:
        await asked(house)
        found = await tuning(house)
        assert found["scale"] == "probability"
        targets = [step["set"]["target"] for step in found["steps"][1:]]
        assert targets == sorted(targets)
        held = found["steps"][found["in_force"]]
        assert held["set"] == {"target": 0.02}
        assert (held["bar"], held["basis"]) == (found["bar"]["probability"], "prior")
        for one in found["questions"]:
            assert one["score"] == one["probability"]
        by_similarity = await tuning(house, scale="similarity")
        assert by_similarity["in_force"] is None
        assert len(by_similarity["questions"]) >= 2


async def test_a_step_and_its_dry_run_count_wrong_hits_by_the_same_labels(tmp_path: Path) -> None:
    async with House.open(tmp_path, similarity=None, target=0.02) as house:
        await asked(house)
        scope = (await tuning(house))["scope"]
        states = house.parts.calibration.states
        for cosine, probability, right in (
            (0.99, 0.999, True), (0.98, 0.99, True), (0.97, 0.97, False),
            (0.3, 0.9995, False),  # probable, but without support: no target serves it
        ):  # fmt: skip
            seen = Evidence(cosine, 0.1, 1, 1, 0.5, 2.0, recorded_probability=probability)
            label = Label(seen, right, 1.0, "audit", served=True, embedder=states.embedder)
            await states.learn("default", scope, label)
        for scale in ("probability", "similarity"):
            found = await tuning(house, scale=scale)
            steps = [one for one in found["steps"] if one["set"] != {"target": 0.02}]
            assert max(step["labels"] for step in steps) == (3 if scale == "probability" else 4)
            for step in steps:
                change = {"level": "scope", "name": scope, "bar": step["set"], "dry_run": True}
                done = await house.http.put(
                    "/admin/v1/tenants/default/bars", headers=ADMIN, json=change
                )
                wrong = done.json()["would_have"]["wrong_after"]
                if wrong is None:
                    assert (step["labels"], step["wrong_rate"]) == (0, None)
                    continue
                assert step["labels"] == wrong["labels"]
                assert step["wrong_rate"] == wrong["share"]
                assert [step["wrong_low"], step["wrong_high"]] == wrong["interval"]
            alone = await tuning(house, scale=scale, limit=0)  # as Review asks for it
            assert (alone["curve"], alone["steps"]) == (found["curve"], found["steps"])
            unsupported = {point["labels"] for point in found["curve"]}
            assert max(unsupported) == max(step["labels"] for step in steps)


async def test_what_is_wrong_in_the_request_is_named(house: House) -> None:
    await asked(house)
    scope = (await tuning(house))["scope"]
    for name, value in (("scale", "cosine"), ("limit", "501"), ("limit", "-1"), ("x", "1")):
        path = f"/admin/v1/scopes/default/{scope}/tuning?{name}={value}"
        got = await house.http.get(path, headers=ADMIN)
        assert got.status_code == 400, path
        assert f"`{name}`" in got.json()["error"]["message"]
