"""Which trials are made, and when a tier has shown enough."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheserver.core.rules.routing import RoutingRules, TaskRule, Tiers
from cacheserver.core.types import Route
from cacheserver.routing.trials import rules as trials
from cacheserver.routing.trials.rules import GoldScore, Pair, PairRecord, Standing, Trial

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
RULES = RoutingRules()
LOW = Pair("extraction", SONNET, HAIKU)


def route(tier: str | None, task: str | None = "extraction", reason: str = "task") -> Route:
    models = {"low": HAIKU, "middle": SONNET, "high": OPUS}
    return Route(models.get(tier or "", HAIKU), reason, tier=tier, task=task)


@pytest.mark.parametrize(
    ("answered", "trial"),
    [
        (route("middle"), Trial(LOW, HAIKU, cheap=True)),
        (route("low"), Trial(LOW, SONNET, cheap=False)),
        (route("high"), Trial(Pair("extraction", OPUS, SONNET), SONNET, cheap=True)),
        (route(None, reason="named"), None),
        (route("middle", None), None),
        (route("middle", "made-up"), None),
        (route("middle", reason="sticky"), None),
        (route("middle", reason="escalated"), None),
    ],
)
def test_an_answer_is_compared_with_the_neighbouring_tiers(
    answered: Route, trial: Trial | None
) -> None:
    assert trials.trial(answered, RULES) == trial


def test_tiers_of_one_model_are_not_compared() -> None:
    rules = RoutingRules(tiers=Tiers(low=SONNET), tasks={"extraction": TaskRule("low", 0.9)})
    assert trials.trial(route("middle"), rules) is None
    assert trials.gates("extraction", rules) is None


def test_a_rule_holds_for_its_tier_under_any_spelling_of_the_task() -> None:
    rules = RoutingRules(tasks={"qa": TaskRule("low", 0.9), "code": TaskRule("high", 0.9)})
    assert trials.gates("short_qa", rules) == ("low", 0.9)
    assert trials.gates("code", rules) is None
    assert trials.gates("extraction", rules) is None
    assert trials.pair_of("qa", "low", rules) == Pair("short_qa", SONNET, HAIKU)


def shown(agreed: int, count: int, standing: Standing = "unproven", **given: object) -> PairRecord:
    found = PairRecord("1" * agreed + "0" * (count - agreed), standing=standing)
    return replace(found, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "now"),
    [
        (shown(0, 0), "unproven"),
        (shown(34, 34), "unproven"),  # all agree, and the interval still reaches under 0.9
        (shown(35, 35), "proven"),
        (shown(0, 40), "unproven"),
        (shown(93, 100, "proven", least=0.9), "proven"),  # its lower end is under 0.9 again
        (shown(89, 100, "proven", least=0.9), "rolled-back"),
        (shown(0, 3, "proven", least=0.9), "proven"),
        (shown(100, 110, "proven", least=0.8), "unproven"),  # raised since
        (shown(110, 110, "proven", least=0.8), "proven"),
        (shown(20, 20, "rolled-back"), "rolled-back"),
        (shown(40, 40, "rolled-back"), "proven"),
        (shown(0, 0, gold=GoldScore(40, 40, 0)), "proven"),
        (shown(0, 0, gold=GoldScore(20, 20, 0)), "unproven"),
        (shown(0, 0, "rolled-back", gold=GoldScore(40, 40, 0)), "rolled-back"),
        (shown(40, 40, gold=GoldScore(8, 10, 0)), "unproven"),
        (shown(40, 40, "proven", least=0.9, gold=GoldScore(8, 10, 0)), "rolled-back"),
        (shown(40, 40, "rolled-back", gold=GoldScore(8, 10, 0)), "rolled-back"),
    ],
)
def test_a_tier_is_proven_by_the_lower_end_and_rolled_back_by_the_share(
    found: PairRecord, now: Standing
) -> None:
    assert trials.standing(found, 0.9) == now


def test_a_sudden_drop_shows_though_the_window_was_good() -> None:
    good = "1" * 350
    found = PairRecord(good + "1" * 38 + "0" * 12, standing="proven", least=0.9)
    assert found.agreed / len(found.window) > 0.9
    assert trials.standing(found, 0.9) == "rolled-back"
    steady = PairRecord(good + "1" * 45 + "0" * 5, standing="proven", least=0.9)
    assert trials.standing(steady, 0.9) == "proven"


@given(
    st.text("01", max_size=120),
    st.sampled_from(("unproven", "proven", "rolled-back")),
    st.floats(0.5, 1),
    st.floats(0.5, 1),
)
@settings(deadline=None)
def test_what_is_shown_for_more_is_shown_for_less(
    window: str, held: Standing, one: float, other: float
) -> None:
    less, more = sorted((one, other))
    found = PairRecord(window, standing=held, least=more)
    if trials.standing(found, more) == "proven":
        assert trials.standing(found, less) == "proven"


@given(st.text("01", max_size=120), st.floats(0.5, 1))
@settings(deadline=None)
def test_nothing_is_proven_that_agreed_less_often_than_asked(window: str, least: float) -> None:
    for held in ("unproven", "rolled-back"):
        if trials.standing(PairRecord(window, standing=held), least) == "proven":
            assert window.count("1") / len(window) >= least


def test_looking_after_each_comparison_seldom_proves_what_is_worse_than_asked() -> None:
    # True agreement 80% where 90% is asked, 200 comparisons, looked at after each: 300 tenants.
    chance = random.Random(7)
    proven = 0
    for _ in range(300):
        found = PairRecord()
        for _ in range(200):
            found = replace(found, window=found.window + str(int(chance.random() < 0.8)))
            if trials.standing(found, 0.9) == "proven":
                proven += 1
                break
    assert proven <= 3


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ("Billing", "billing.", True),
        ('{"a": 1, "b": "X"}', '```json\n{"b": "x", "a": 1.0}\n```', True),
        ('{"a": 1}', '{"a": 2}', False),
        ('{"a": 1}', '{"b": 1}', False),
        ('{"a": true}', '{"a": 1}', False),
        ("[1, 2]", "[2, 1]", False),
        ('{"a": "the red one"}', '{"a": "red"}', None),
        ('{"a": "the red one", "n": 1}', '{"a": "red", "n": 2}', False),
        ("42", "43", False),
        ("Paris", "It is Paris", None),
    ],
)
def test_labels_and_json_are_compared_without_a_model(
    one: str, other: str, told: bool | None
) -> None:
    assert trials.alike(one, other) is told
    assert trials.alike(other, one) is told
