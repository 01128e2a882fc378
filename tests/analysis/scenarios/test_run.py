"""Scenarios through the real policies: sums, repetition, determinism."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.analysis.replay.step import LEVERS
from cacheserver.analysis.scenarios import report, shelf
from cacheserver.analysis.scenarios.run import Result, run, shared_out
from cacheserver.analysis.scenarios.scenario import (
    Arrivals,
    Kind,
    Length,
    Repeats,
    Scenario,
    Shared,
    Similarities,
    Spread,
    StatedVerification,
)
from cacheserver.analysis.scenarios.totals import Totals
from cacheserver.analysis.scenarios.traffic import asks

FAR = Spread(0.0, 0.0)  # nothing is like anything


def scenario(**changes: object) -> Scenario:
    kind = Kind(
        name="one",
        share=1.0,
        model={"middle": 1.0},
        questions=("What does the {} do?",),
        output=Length(100, 200),
        question=Length(20, 40),
        system=Shared(1_500),
    )
    made = Scenario(
        name="test",
        about="a test",
        seed=1,
        conversations=200,
        days=1,
        start=date(2026, 11, 2),
        kinds=(replace(kind, **{k: v for k, v in changes.items() if hasattr(kind, k)}),),  # type: ignore[arg-type]
        similarities=Similarities(0.95, FAR, FAR),
    )
    return replace(made, **{k: v for k, v in changes.items() if not hasattr(kind, k)})  # type: ignore[arg-type]


def ran(made: Scenario) -> Result:
    return run(made, shelf.prices("seeds"))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    exact=st.floats(0, 0.5),
    reworded=st.floats(0, 0.5),
    turns=st.integers(1, 3),
    document=st.sampled_from([None, Length(2_000, 4_000)]),
    waits=st.booleans(),
    pattern=st.sampled_from(["steady", "poisson", "office", "nightly"]),
    levers=st.sets(st.sampled_from(LEVERS)),
    similar=st.booleans(),
)
def test_parts_sum_to_the_whole_and_nothing_is_negative_that_may_not_be(
    exact: float,
    reworded: float,
    turns: int,
    document: Length | None,
    waits: bool,
    pattern: str,
    levers: set[str],
    similar: bool,
) -> None:
    made = scenario(
        repeats=Repeats(exact, reworded, distinct=10, turns=turns),
        turns=turns,
        document=document,
        waits=waits,
        arrivals=Arrivals(pattern),  # type: ignore[arg-type]
        levers=frozenset(levers),
        conversations=40,
        days=7,
        similarities=Similarities(0.9, Spread(0.95 if similar else 0.5, 0.1), FAR),
    )
    whole = ran(made).whole
    assert whole.conversations == 40
    assert whole.requests == 40 * turns
    assert whole.unpriced == 0
    assert whole.spent == whole.left + sum(whole.together.values())
    assert whole.left >= 0
    assert sum(whole.hits.values()) + sum(whole.models.values()) == whole.requests
    assert min(whole.alone["exact"], whole.together["semantic"], whole.together["batch"]) >= 0
    for lever in set(LEVERS) - levers:
        assert whole.alone[lever] == 0 or lever == "semantic"
        assert whole.together[lever] == 0 or lever in ("exact", "semantic")
    if "exact" not in levers:
        assert not whole.hits


def test_without_repetition_there_is_no_hit() -> None:
    assert not ran(scenario(turns=2)).whole.hits


@pytest.mark.parametrize("share", [0.2, 0.6, 1.0])
def test_exact_repeats_hit_as_often_as_arithmetic_says(share: float) -> None:
    distinct = 20
    made = scenario(
        repeats=Repeats(exact=share, distinct=distinct, zipf=0.0),
        conversations=1_000,
        lifetime_s=864_000,
    )
    common = [ask for ask in asks(made) if ask.common]
    # Of each common question the first is asked of Claude, and every later one is a hit.
    met = len({ask.questions for ask in common})
    assert ran(made).whole.hits == {"exact": len(common) - met}
    # Binomial: six standard deviations, one run in half a billion.
    assert abs(len(common) - 1_000 * share) <= 6 * (1_000 * share * (1 - share)) ** 0.5
    assert met <= distinct


def test_an_answer_that_has_gone_is_asked_for_again() -> None:
    made = scenario(
        repeats=Repeats(exact=1.0, distinct=1), arrivals=Arrivals("steady"), conversations=24
    )
    assert ran(replace(made, lifetime_s=3_601)).whole.hits == {"exact": 12}
    assert not ran(replace(made, lifetime_s=3_600)).whole.hits


@pytest.mark.parametrize(("cosine", "hits"), [(0.96, True), (0.94, False)])
def test_rewordings_hit_from_the_bar_on(cosine: float, hits: bool) -> None:
    made = scenario(
        repeats=Repeats(reworded=1.0, distinct=1),
        similarities=Similarities(0.95, Spread(cosine, 0.0), FAR),
    )
    whole = ran(made).whole
    assert whole.hits == ({"semantic": 199} if hits else {})
    assert whole.wrong == 0


@pytest.mark.parametrize(("cosine", "asked"), [(0.94, 199), (0.84, 0)])
def test_verification_is_estimated_by_its_stated_rates(cosine: float, asked: int) -> None:
    stated = StatedVerification(sensitivity=0.9, false_yes=0.02, least=0.85)
    made = scenario(
        repeats=Repeats(reworded=1.0, distinct=1),
        similarities=Similarities(0.95, Spread(cosine, 0.0), FAR),
    )
    plain, found = ran(made), ran(replace(made, verification=stated))
    verified = found.whole.verified
    assert (verified.calls, verified.wrong) == (asked, 0)
    assert verified.hits == pytest.approx(0.9 * asked)
    assert (verified.saved > verified.cost > 0) is (asked > 0)
    assert replace(found.whole, verified=plain.whole.verified) == plain.whole
    assert any("an estimate, in no other figure" in line for line in report.lines(found))
    assert not any("estimate" in line for line in report.lines(plain))


def test_a_verified_answer_to_another_question_is_wrong_and_saves_nothing() -> None:
    stated = StatedVerification(sensitivity=0.9, false_yes=0.02)
    made = scenario(similarities=Similarities(0.95, FAR, Spread(0.9, 0.0)), verification=stated)
    verified = ran(made).whole.verified
    assert verified.calls == 199
    assert verified.hits == pytest.approx(verified.wrong) == pytest.approx(0.02 * 199)
    assert (verified.saved, verified.cost > 0) == (0, True)


def test_what_is_alike_and_asks_something_else_is_a_wrong_hit() -> None:
    made = scenario(similarities=Similarities(0.95, FAR, Spread(0.99, 0.0)))
    whole = ran(made).whole
    assert whole.hits == {"semantic": 199}
    assert whole.wrong == 199


def test_what_waits_every_night_is_batched_from_the_fifth_on() -> None:
    made = scenario(
        waits=True, arrivals=Arrivals("nightly"), days=8, conversations=800, levers={"batch"}
    )
    whole = ran(made).whole
    # The fifth night is known as such from its first request.
    assert whole.batched == 400
    assert ran(replace(made, kinds=(replace(made.kinds[0], waits=False),))).whole.batched == 0


def test_what_comes_by_day_under_another_prompt_hides_no_nightly_series() -> None:
    nightly = scenario(waits=True, arrivals=Arrivals("nightly"), levers={"batch"}, days=8)
    (kind,) = nightly.kinds
    other = replace(kind, name="other", share=0.5, waits=False, arrivals=Arrivals("office"))
    made = replace(nightly, conversations=1_600, kinds=(replace(kind, share=0.5), other))
    result = ran(made)
    assert result.kinds["one"].batched == 400
    assert result.kinds["other"].batched == 0


def test_the_same_seed_gives_the_same_report_and_another_another() -> None:
    made = replace(shelf.scenario("support-chatbot"), conversations=100)
    first, again = report.as_json(ran(made)), report.as_json(ran(made))
    assert first == again
    assert report.as_json(ran(replace(made, seed=9)))["whole"] != first["whole"]


@pytest.mark.parametrize("name", shelf.names())
@pytest.mark.parametrize("prices", ["seeds", "today"])
def test_every_shipped_scenario_runs_at_both_prices(name: str, prices: str) -> None:
    made = replace(shelf.scenario(name), conversations=60)
    result = run(made, shelf.prices(prices))
    assert result.whole.unpriced == 0
    assert result.whole.spent > 0
    assert result.whole.spent == sum(kind.spent for kind in result.kinds.values())
    assert sum(result.whole.models.values()) + sum(result.whole.hits.values()) == (
        result.whole.requests
    )


def test_turns_come_in_the_order_of_time_and_none_is_lost() -> None:
    made = replace(shelf.scenario("b2b-audit"), conversations=500)
    came = list(asks(made))
    assert [ask.at for ask in came] == sorted(ask.at for ask in came)
    by_kind = {kind.name: sum(ask.kind is kind for ask in came) for kind in made.kinds}
    assert by_kind == {"extraction": 250, "analysis": 150, "nightly": 100}
    assert made.starts_at <= came[0].at
    assert came[-1].at <= made.starts_at + made.days * 86_400


def test_a_turn_is_billed_for_all_that_was_said_before() -> None:
    made = scenario(
        turns=2,
        output=Length(100, 100),
        question=Length(20, 20),
        document=Length(500, 500),
        conversations=10,
        levers=frozenset(),
    )
    # Sonnet: 1,500 + 500 + 20 in and 100 out; then 1,500 + 500 + 20 + 100 + 20 in and 100 out:
    # (2,020 + 2,140) x 3 + 200 x 15 millionths of a dollar
    assert ran(made).whole.spent == 10 * 15_480_000


def test_parts_are_what_remains_of_the_whole() -> None:
    totals = Totals(spent=10)
    totals.together["exact"], totals.alone["exact"] = 3, 4
    assert totals.left == 7


def test_processes_share_the_kinds_out_and_come_to_the_same() -> None:
    whole = scenario()
    (one,) = whole.kinds
    kinds = tuple(
        replace(one, name=name, share=share, system=Shared(tokens))
        for name, share, tokens in (
            ("a", 0.4, 1_500),
            ("b", 0.3, 0),
            ("c", 0.2, 900),
            ("d", 0.1, 0),
        )
    )
    made = replace(whole, kinds=kinds, conversations=300)
    alone = run(made, shelf.prices("seeds"), requests=250)
    shared = run(made, shelf.prices("seeds"), requests=250, processes=3)
    assert report.as_json(shared) == report.as_json(alone)
    assert alone.whole.requests == 250
    assert sorted(map(sorted, shared_out(kinds, 3))) == [["a"], ["b", "d"], ["c"]]
    assert sorted(map(sorted, shared_out(kinds, 2))) == [["a", "c"], ["b", "d"]]
    assert shared_out(kinds[:1], 9) == [frozenset("a")]
