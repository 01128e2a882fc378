"""Feedback, audits, shadow mode, vetoes and volatility, through the front door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cacheserver.simulated import Directives
from tests.api.admin import ADMIN, PARIS, SIMILAR, put
from tests.house import House, came_from


def answering(body: Mapping[str, Any]) -> Directives:
    """A Claude that knows two answers: to what mentions France, and to all else."""
    text = str(body["messages"][-1]["content"])
    if "what's" in text.lower():
        return Directives(text="Berlin has been the capital of Germany since 1990.")
    return Directives(text="The capital of France has been Paris since 987.")


@pytest.fixture
async def calibrated(tmp_path: Path) -> AsyncIterator[House]:
    """A server that decides by probability, with a target that the prior alone can meet."""
    async with House.open(tmp_path, claude=answering, similarity=None, target=0.5) as house:
        yield house


async def feedback(house: House, **fields: Any) -> tuple[int, dict[str, Any]]:
    response = await house.http.post("/v1/feedback", json=fields)
    return response.status_code, response.json()


async def test_a_probability_is_held_to_the_target_and_explained(calibrated: House) -> None:
    await calibrated.ask(PARIS)
    hit = await calibrated.ask(SIMILAR)
    assert came_from(hit) == ("semantic", "probable")
    path = f"/v1/decisions/{hit.headers['x-cache-decision']}"
    shown = (await calibrated.http.get(path)).json()["decision"]
    assert shown["probability"] >= shown["bar"]
    assert (shown["basis"], shown["target"]) == ("prior", 0.5)
    assert shown["evidence"]["cosine"] == pytest.approx(shown["similarity"], abs=1e-5)
    assert float(hit.headers["x-cache-probability"]) == shown["probability"]


async def test_a_veto_passes_over_what_a_cosine_would_have_served(calibrated: House) -> None:
    await calibrated.ask("How do I enable two-factor sign-in?")
    answer = await calibrated.ask("How do I disable two-factor sign-in?")
    assert came_from(answer) == ("miss", "vetoed")
    assert float(answer.headers["x-cache-similarity"]) > 0.8
    assert answer.headers["x-cache-veto"] == "antonym"
    page = (await calibrated.http.get("/metrics", headers=ADMIN)).text
    assert 'cacheserver_vetoed_total{veto="antonym"} 1.0' in page


async def test_under_a_threshold_vetoes_hold_unless_they_are_off(house: House) -> None:
    path, opposite = (
        "tenants/default/bars",
        "How do I disable dark mode in the settings of the app?",
    )
    await put(house, path, bar={"similarity": 0.9})
    first = await house.ask("How do I enable dark mode in the settings of the app?")
    refused = await house.ask(opposite, headers={"cache-control": "only-if-cached"})
    told = [refused.headers[f"x-cache-{name}"] for name in ("reason", "veto")]
    assert told == ["only-if-cached", "antonym"]
    assert float(refused.headers["x-cache-similarity"]) > 0.9
    near = await house.ask(opposite)
    assert came_from(near) == ("miss", "vetoed")
    page = (await house.http.get("/metrics", headers=ADMIN)).text
    assert 'cacheserver_vetoed_total{veto="antonym"} 2.0' in page
    await house.http.post("/v1/purge", json={"entry_id": near.headers["x-cache-entry"]})
    await put(house, path, bar={"similarity": 0.9, "vetoes_off": ["antonym"]})
    hit = await house.ask(opposite)
    assert came_from(hit) == ("semantic", "similar")
    assert hit.headers["x-cache-entry"] == first.headers["x-cache-entry"]


async def test_a_threshold_that_is_lowered_makes_a_hit_of_a_miss(house: House) -> None:
    path, reworded = "tenants/default/bars", "Which city is the capital of the country France?"
    await put(house, path, bar={"similarity": 0.99})
    first = await house.ask(PARIS)
    miss = await house.ask(reworded)
    assert came_from(miss) == ("miss", "below-threshold")
    similarity = float(miss.headers["x-cache-similarity"])
    await house.http.post("/v1/purge", json={"entry_id": miss.headers["x-cache-entry"]})
    await put(house, path, bar={"similarity": round(similarity - 0.01, 4)})
    hit = await house.ask(reworded)
    assert came_from(hit) == ("semantic", "similar")
    assert hit.headers["x-cache-entry"] == first.headers["x-cache-entry"]


async def test_a_bad_word_is_taken_off_the_similarity_that_a_threshold_is_held_against(
    house: House,
) -> None:
    await put(house, "tenants/default/bars", bar={"similarity": 0.97})
    await house.ask(PARIS)
    hit = await house.ask(SIMILAR)
    assert came_from(hit)[0] == "semantic"
    await feedback(house, verdict="bad", decision_id=hit.headers["x-cache-decision"])
    other = await house.ask("Whats the capital of France?")
    assert came_from(other) == ("miss", "below-threshold")
    path = f"/v1/decisions/{other.headers['x-cache-decision']}"
    shown = (await house.http.get(path)).json()["decision"]
    (nearest,) = shown["candidates"]
    assert nearest["similarity"] - nearest["penalty"] < 0.97 <= nearest["similarity"]


async def test_a_decision_that_fails_within_is_a_miss_and_counted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.ask(PARIS)
    decider: Any = house.parts.service._decider
    # No language, as a fault in its rules would be.
    monkeypatch.setattr(decider, "_language", None)
    decider._profiles.clear()
    assert came_from(await house.ask(SIMILAR)) == ("miss", "degraded")
    page = (await house.http.get("/metrics", headers=ADMIN)).text
    assert 'cacheserver_swallowed_total{site="decide"} 1.0' in page


async def test_a_veto_can_be_switched_off(calibrated: House) -> None:
    bar = {"target": 0.5, "vetoes_off": ["antonym"]}
    await put(calibrated, "tenants/default/bars", bar=bar)
    await calibrated.ask("How do I enable two-factor sign-in?")
    answer = await calibrated.ask("How do I disable two-factor sign-in?")
    assert answer.headers.get("x-cache-veto") != "antonym"


async def test_a_bad_word_on_a_similar_hit_holds_for_the_pair_and_raises_the_bar(
    calibrated: House,
) -> None:
    first = await calibrated.ask(PARIS)
    hit = await calibrated.ask(SIMILAR)
    status, done = await feedback(
        calibrated, verdict="bad", decision_id=hit.headers["x-cache-decision"]
    )
    assert (status, done["done"]) == (200, "tombstoned")
    assert came_from(await calibrated.ask(SIMILAR)) == ("miss", "condemned")
    assert came_from(await calibrated.ask(PARIS))[0] == "exact"
    assert done["entry_id"] == first.headers["x-cache-entry"]
    other = await calibrated.ask("What is the capital city of France?")
    if other.headers["x-cache"] == "semantic":  # of the fresh answer, never of the condemned one
        assert other.headers["x-cache-entry"] != done["entry_id"]


async def test_a_bad_word_on_an_answer_itself_evicts_it(house: House) -> None:
    first = await house.ask(PARIS)
    status, done = await feedback(house, verdict="bad", entry_id=first.headers["x-cache-entry"])
    assert (status, done["done"]) == (200, "evicted")
    assert came_from(await house.ask(PARIS))[0] == "miss"


async def test_a_good_word_waits_for_review_and_changes_nothing(house: House) -> None:
    await house.ask(PARIS)
    hit = await house.ask(SIMILAR)
    status, done = await feedback(
        house, verdict="good", decision_id=hit.headers["x-cache-decision"]
    )
    assert (status, done["done"]) == (200, "queued for review")
    path = "/admin/v1/labels/queue?tenant=default"
    (item,) = (await house.http.get(path, headers=ADMIN)).json()["items"]
    assert (item["query_a"], item["query_b"], item["called_good"]) == (PARIS, SIMILAR, True)


async def test_feedback_on_anothers_answer_is_404(house: House) -> None:
    one, two = await house.key("one"), await house.key("two")
    answer = await house.ask(PARIS, key=one)
    for fields in (
        {"entry_id": answer.headers["x-cache-entry"]},
        {"decision_id": answer.headers["x-cache-decision"]},
    ):
        refused = await house.http.post(
            "/v1/feedback", json={"verdict": "bad", **fields}, headers={"x-api-key": two}
        )
        assert refused.status_code == 404
    assert came_from(await house.ask(PARIS, key=one))[0] == "exact"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"entry_id": "x"}, "verdict"),
        ({"verdict": "meh", "entry_id": "x"}, "verdict"),
        ({"verdict": "bad"}, "decision_id"),
        ({"verdict": "bad", "entry_id": "x", "decision_id": "y"}, "decision_id"),
        ({"verdict": "bad", "entry_id": 3}, "entry_id"),
        ({"verdict": "bad", "entry_id": "x", "why": "y"}, "why"),
    ],
)
async def test_feedback_that_makes_no_sense_is_400(
    house: House, fields: dict[str, Any], field: str
) -> None:
    status, error = await feedback(house, **fields)
    assert status == 400
    assert f"`{field}`" in error["error"]["message"]


async def test_an_audit_finds_a_wrong_hit_charges_it_and_ends_it(calibrated: House) -> None:
    await put(calibrated, "tenants/default/bars", bar={"target": 0.5, "audit_share": 1.0})
    await calibrated.ask(PARIS)
    assert came_from(await calibrated.ask(SIMILAR))[0] == "semantic"
    await calibrated.parts.calibration.learner.idle()
    assert len(calibrated.asked) == 3  # in the background, and twice, for it was a surprise
    assert came_from(await calibrated.ask(SIMILAR)) == ("miss", "condemned")
    sums = await calibrated.parts.decision_log.stats("default")
    assert (sums["audits"], sums["audits_again"], sums["audits_wrong"]) == (1, 1, 1)
    assert sums["audit_cost_nanodollars"] > 0


async def test_without_money_for_audits_none_is_made(tmp_path: Path) -> None:
    async with House.open(
        tmp_path, claude=answering, similarity=None, target=0.5, audit_usd_per_day=0
    ) as house:
        await put(house, "tenants/default/bars", bar={"target": 0.5, "audit_share": 1.0})
        await house.ask(PARIS)
        assert came_from(await house.ask(SIMILAR))[0] == "semantic"
        await house.parts.calibration.learner.idle()
        assert len(house.asked) == 1


async def test_shadow_mode_decides_compares_and_always_asks(calibrated: House) -> None:
    await put(calibrated, "tenants/default", shadow=True)
    await calibrated.ask(PARIS)
    for text in (SIMILAR, PARIS):
        assert came_from(await calibrated.ask(text)) == ("miss", "shadow")
    await calibrated.parts.calibration.learner.idle()
    assert len(calibrated.asked) == 4  # what would have been a wrong hit, once more
    path = "/admin/v1/tenants/default/shadow"
    report = (await calibrated.http.get(path, headers=ADMIN)).json()
    would = report["would_have"]
    assert (report["asked"], would["hits"], would["wrong"]) == (3, 2, 1)
    assert would["wrong_low"] < 0.5 < would["wrong_high"]
    assert float(would["saved_usd"]) > 0


async def test_what_depends_on_the_moment_lives_briefly_and_the_personal_is_not_shared(
    house: House,
) -> None:
    weather = await house.ask("What is the weather like today?")
    assert weather.headers["x-cache-ttl"] == "300"
    for _ in range(2):
        mine = await house.ask("Where is my order?")
        assert came_from(mine) == ("bypass", "volatile-personal")
    near = await house.ask("Where is the closest pharmacy near me?")
    assert came_from(near) == ("bypass", "volatile-place")
    await put(house, "tenants/default", volatility={"personal_s": 31_536_000, "time_s": 31_536_000})
    for kind in ("miss", "exact"):
        assert came_from(await house.ask("Where is my order?"))[0] == kind


async def test_answers_that_say_the_same_become_one_group(calibrated: House) -> None:
    await put(calibrated, "tenants/default/bars", bar={"target": 0.01})
    one = await calibrated.ask(PARIS)
    two = await calibrated.ask("Which city is the capital of the country France?")
    assert [came_from(a)[0] for a in (one, two)] == ["miss", "miss"]
    await calibrated.parts.calibration.learner.idle()
    entries = calibrated.parts.entries.entries
    found = [await entries.by_id("default", a.headers["x-cache-entry"]) for a in (one, two)]
    refs = [(entry.fingerprint, entry.id) for entry in found if entry is not None]
    groups = [grouped.group for grouped in await entries.grouped(refs) if grouped is not None]
    assert groups == [refs[0][1]] * 2
