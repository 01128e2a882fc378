"""Verification: what a yes is worth, what may be asked about, and what audits change."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.evidence import Evidence
from cacheserver.matching import conformal_bound
from cacheserver.matching.calibration import Calibration
from cacheserver.matching.decision import ScoredCandidate, judge
from cacheserver.matching.language import ALL_VETOES
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.verification import (
    DECISIVE_VETOES,
    LEAST_AUDITED,
    UNMEASURED,
    UNSUPPORTED,
    Audited,
    Drift,
    ErrorRates,
    ExpectedErrors,
    askable,
    breaks_target,
    chance_of_yes,
    measured_rates,
    posterior,
)
from tests.matching.scopes import ENGLISH, profile

shares = st.floats(0.0, 1.0)
rates = st.builds(ErrorRates, st.floats(0.01, 1.0), st.floats(0.001, 1.0))
GOOD = ErrorRates(0.95, 0.02)


def scored(
    probability: float,
    *,
    id: str = "a",
    group: str | None = None,
    veto: str | None = None,
    supported: bool = True,
) -> ScoredCandidate:
    found = None
    if veto is None:
        found = Evidence(
            cosine=0.9,
            margin=0.1,
            share=1.0,
            pull=1.0,
            second=0.8,
            prior=0.0,
            company=5,
            group=group or id,
        )
    return ScoredCandidate(id, found, probability, veto, supported)


# The posterior


@given(shares, rates)
def test_a_posterior_is_a_probability_and_exactly_what_bayes_gives(
    probability: float, rates: ErrorRates
) -> None:
    found = posterior(probability, rates)
    assert 0 <= found <= 1
    yes = chance_of_yes(probability, rates)
    assert found * yes == pytest.approx(probability * rates.sensitivity)


@given(shares, shares, rates)
def test_a_posterior_never_falls_as_the_probability_rises(
    one: float, other: float, rates: ErrorRates
) -> None:
    low, high = sorted((one, other))
    assert posterior(low, rates) <= posterior(high, rates) + 1e-12


@given(shares, rates, st.floats(1.0, 5.0))
def test_a_model_that_errs_more_is_worth_no_more(
    probability: float, rates: ErrorRates, factor: float
) -> None:
    worse = replace(rates, false_yes=min(1.0, rates.false_yes * factor))
    assert posterior(probability, worse) <= posterior(probability, rates) + 1e-12


def test_a_yes_of_a_model_that_says_yes_to_everything_changes_nothing() -> None:
    assert posterior(0.3, ErrorRates(1.0, 1.0)) == pytest.approx(0.3)


# What may be asked about

candidates = st.lists(
    st.builds(
        scored,
        shares,
        veto=st.sampled_from((None, None, *sorted(DECISIVE_VETOES))),
        supported=st.booleans(),
    ),
    max_size=6,
)


@given(candidates, st.floats(0.5, 0.99), rates, st.booleans())
def test_only_what_reaches_the_floor_by_bayes_is_askable_and_nothing_vetoed_is(
    listed: list[ScoredCandidate], floor: float, rates: ErrorRates, cold_start: bool
) -> None:
    named = [
        replace(one, id=str(at), evidence=one.evidence and replace(one.evidence, group=str(at)))
        for at, one in enumerate(listed)
    ]
    by_id = {one.id: one for one in named}
    found = askable(named, floor=floor, rates=rates, cold_start=cold_start)
    for one in found:
        asked = by_id[one.id]
        assert asked.veto is None
        assert floor <= one.posterior <= posterior(asked.probability, rates) + 1e-12
        assert one.posterior == posterior(one.probability, rates)
        if not asked.supported:
            assert cold_start
            assert one.probability <= UNSUPPORTED
    assert [one.probability for one in found] == sorted(
        (one.probability for one in found), reverse=True
    )
    ids = {one.id for one in found}
    for left in named:
        if left.id not in ids and left.veto is None and left.supported:
            assert posterior(left.probability, rates) < floor


DECISIVE_PAIRS = (
    ("Is 5 mg of melatonin safe for children?", "Is 10 mg of melatonin safe for children?"),
    ("Can I cancel the order on Monday?", "Can I cancel the order on Friday?"),
    ("Is the parking free?", "Is the parking not free?"),
    ("How do I convert euros to dollars?", "How do I convert dollars to euros?"),
    ("How many calories are in 2 cups of rice?", "How many calories are in 2 grams of rice?"),
)


@pytest.mark.parametrize("pair", DECISIVE_PAIRS)
def test_no_yes_overrules_a_number_a_time_a_negation_or_a_direction(pair: tuple[str, str]) -> None:
    stored = Neighbour("stored", 0.99, "stored", profile(pair[0]))
    verdict = judge(
        profile(pair[1]),
        [stored],
        Calibration(),
        conformal_bound.UNREACHED,
        language=ENGLISH,
        enabled=ALL_VETOES & DECISIVE_VETOES,
    )
    perfect = ErrorRates(1.0, 0.001)
    assert askable(verdict.candidates, floor=0.5, rates=perfect, cold_start=True) == []


def test_of_an_answer_group_only_the_most_probable_candidate_is_asked_about() -> None:
    listed = [
        scored(p, id=id, group=group)
        for p, id, group in ((0.6, "a", "x"), (0.8, "b", "x"), (0.7, "c", "y"), (0.1, "d", "z"))
    ]
    found = askable(listed, floor=0.9, rates=GOOD, cold_start=False)
    assert [one.id for one in found] == ["b", "c"]


def test_the_decisive_vetoes_are_vetoes_and_include_those_that_nothing_may_overrule() -> None:
    protected = {"numeric", "unit", "temporal", "negation", "span", "direction", "role"}
    assert protected <= DECISIVE_VETOES <= ALL_VETOES


def test_a_yes_of_unmeasured_rates_serves_nothing_unsupported() -> None:
    floor = conformal_bound.probability_floor(0.01)
    sure = scored(0.999, supported=False)
    supported = replace(sure, supported=True)
    assert askable([sure], floor=floor, rates=UNMEASURED, cold_start=True) == []
    assert askable([supported], floor=floor, rates=UNMEASURED, cold_start=True)


def test_a_yes_never_replaces_the_support_that_a_scope_has_learned() -> None:
    perfect = ErrorRates(1.0, 0.001)
    sure = scored(0.999, supported=False)
    assert askable([sure], floor=0.5, rates=perfect, cold_start=True)
    assert askable([sure], floor=0.5, rates=perfect, cold_start=False) == []


# Expected errors


@given(
    st.lists(st.floats(0.9, 1.0), min_size=1, max_size=400), st.sampled_from((0.005, 0.01, 0.05))
)
def test_admitted_hits_keep_their_expected_errors_within_the_target(
    offered: list[float], target: float
) -> None:
    """But for the credit of half a wrong hit at 1%, whatever comes in whatever order."""
    errors, expected, hits = ExpectedErrors(), 0.0, 0
    for one in offered:
        if errors.admits(one, target):
            errors = errors.after(one)
            expected, hits = expected + 1 - one, hits + 1
            assert errors.total <= target * errors.hits + 1e-9
    # Older hits fade, so what 200 sure ones saved can be spent once more.
    assert expected <= target * (hits + ExpectedErrors().hits * (1 + hits / 100)) + 1e-9


def test_a_hit_within_the_target_itself_is_always_admitted() -> None:
    errors = ExpectedErrors(total=10.0, hits=100.0)
    assert errors.admits(0.991, 0.01)
    assert not errors.admits(0.98, 0.01)


def test_sure_hits_pay_for_doubtful_ones_and_doubtful_ones_alone_run_out() -> None:
    errors, admitted = ExpectedErrors(), 0
    while errors.admits(0.9, 0.01):
        errors, admitted = errors.after(0.9), admitted + 1
        assert admitted < 20
    assert admitted >= 1
    for _ in range(50):
        errors = errors.after(1.0)
    assert errors.admits(0.9, 0.01)


def test_audits_that_find_more_wrong_hits_than_expected_admit_fewer() -> None:
    errors = ExpectedErrors(total=0.5, hits=100.0)
    assert errors.admits(0.95, 0.01)
    for _ in range(3):
        errors = errors.audited(0.95, right=False)
    assert errors.factor > 3
    assert not errors.admits(0.98, 0.01)
    assert not errors.admits(0.995, 0.01)  # its own error is more than the target, as audits show
    right = ExpectedErrors(total=0.5, hits=100.0)
    for _ in range(50):
        right = right.audited(0.95, right=True)
    assert right.factor == 1.0  # fewer wrong hits than expected admit no more


# Measured rates


def audits(
    right_yes: int, wrong_yes: int, right_no: int, wrong_no: int, *, weight: float = 1.0
) -> Audited:
    """Counts; yeses were audited with a chance of 1 / weight."""
    made = Audited()
    for count, yes, right in (
        (right_yes, True, True),
        (wrong_yes, True, False),
        (right_no, False, False),
        (wrong_no, False, True),
    ):
        for _ in range(count):
            made = made.after(yes=yes, right=right, weight=weight if yes else 1.0)
    return made


def test_rates_are_the_stated_ones_until_150_yeses_and_150_noes_were_audited() -> None:
    assert LEAST_AUDITED == 150
    bad = audits(50, 99, 100, 60)
    assert measured_rates(bad, GOOD) is GOOD
    assert measured_rates(audits(50, 100, 100, 49), GOOD) is GOOD
    assert measured_rates(audits(50, 100, 100, 50), GOOD).measured


def test_rates_that_audits_refute_give_way_to_the_unfavourable_end() -> None:
    found = measured_rates(audits(300, 60, 140, 100), GOOD)
    assert found.false_yes > 60 / 200  # the share seen
    assert found.sensitivity < 300 / 400


def test_a_rate_that_is_proven_better_than_stated_is_used_at_its_unfavourable_end() -> None:
    careless = ErrorRates(0.5, 0.5)
    found = measured_rates(audits(2_000, 10, 500, 50), careless)
    assert 10 / 510 < found.false_yes < 0.1
    assert 0.9 < found.sensitivity < 2_000 / 2_050


def test_a_stated_rate_that_audits_do_not_refute_stays() -> None:
    found = measured_rates(audits(280, 1, 150, 150, weight=10), GOOD)
    assert (found.false_yes, found.sensitivity) == (GOOD.false_yes, GOOD.sensitivity)
    assert found.measured


@given(
    st.integers(150, 400), st.integers(0, 100), st.integers(150, 400), st.integers(0, 100), rates
)
def test_measured_rates_are_never_better_than_both_what_was_seen_and_what_was_stated(
    right_yes: int, wrong_yes: int, right_no: int, wrong_no: int, stated: ErrorRates
) -> None:
    found = measured_rates(audits(right_yes, wrong_yes, right_no, wrong_no), stated)
    seen_false = wrong_yes / (wrong_yes + right_no)
    seen_kept = right_yes / (right_yes + wrong_no)
    assert found.false_yes >= min(seen_false, stated.false_yes)
    assert found.sensitivity <= max(seen_kept, stated.sensitivity)
    assert 0 < found.false_yes <= 1
    assert 0 < found.sensitivity <= 1


def test_weights_stand_for_hits_but_are_no_more_evidence_than_their_audits() -> None:
    careless = ErrorRates(0.95, 0.999)
    light = measured_rates(audits(200, 2, 200, 20), careless)
    heavy = measured_rates(audits(200, 2, 200, 20, weight=20), careless)
    assert heavy.false_yes > light.false_yes  # twenty times the wrong yeses, the same noes
    # Two wrong yeses of 3,000 hits are what a rate of 2% and 200 noes let expect: 4 in all.
    assert measured_rates(audits(148, 2, 200, 20, weight=20), GOOD).false_yes == GOOD.false_yes
    assert measured_rates(audits(145, 5, 200, 20, weight=20), GOOD).false_yes > 0.3


def test_a_model_as_good_as_stated_is_hardly_ever_refuted() -> None:
    """At most 4 of 200 runs of 3,000 verdicts do, though they are tested after each audit."""
    refuted = 0
    for seed in range(200):
        rng, audited = Random(seed), Audited()
        for _ in range(3_000):
            right = rng.random() < 0.9
            yes = rng.random() < (GOOD.sensitivity if right else GOOD.false_yes)
            if not yes:
                audited = audited.after(yes=False, right=right, weight=1.0)
            elif rng.random() < 0.1:
                audited = audited.after(yes=True, right=right, weight=10.0)
                if measured_rates(audited, GOOD).false_yes > GOOD.false_yes:
                    refuted += 1
                    break
    assert refuted <= 4


# Switching off


@pytest.mark.parametrize(
    ("wrong", "hits", "broken"),
    [
        (1, 1, False),
        (1, 150, False),
        (2, 3, True),
        (4, 150, False),
        (9, 150, True),
        (10, 1_000, False),
    ],
)
def test_verification_breaks_the_target_beyond_chance_and_never_by_one_hit(
    wrong: int, hits: int, broken: bool
) -> None:
    assert breaks_target(wrong, hits, 0.01) is broken


# Drift


def drifted_after(shares: list[tuple[float, int]], seed: int) -> int | None:
    """Return the verdict at which drift is noticed, for (share of yeses, verdicts) in turn."""
    rng, drift, at = Random(seed), Drift(), 0
    for share, count in shares:
        for _ in range(count):
            at += 1
            drift = drift.after(rng.random() < share)
            if drift.drifted:
                return at
    return None


@pytest.mark.parametrize("after", [0.2, 0.95])
def test_a_share_of_yeses_that_changes_is_noticed_within_300_verdicts(after: float) -> None:
    found = [drifted_after([(0.6, 500), (after, 300)], seed) for seed in range(50)]
    assert all(at is not None and at > 500 for at in found)


def test_a_steady_share_is_rarely_called_a_change() -> None:
    """At most 2 of 200 runs of 2,000 verdicts at a share of one half."""
    false = sum(drifted_after([(0.5, 2_000)], seed) is not None for seed in range(200))
    assert false <= 2
