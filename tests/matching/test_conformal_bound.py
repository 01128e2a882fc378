from __future__ import annotations

from dataclasses import replace
from math import log
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheserver.core.evidence import Evidence
from cacheserver.matching import calibration, conformal_bound
from cacheserver.matching.calibration import Calibration, Label
from cacheserver.matching.conformal_bound import Bar

shares = st.floats(0.002, 0.5)
CROWD = 0.75  # of all labels here: support tells none of them apart


def drawn(
    count: int,
    *,
    served: bool = False,
    wrong: float = 0.0,
    seed: int = 1,
    audited: float = 1.0,
    told: float = 0.0,
) -> list[Label]:
    """Labels that are exchangeable, each told about what it is: `told` log odds too much.

    `wrong` of all are wrong whatever was told. Of the likely ones `audited` are labels; the others
    are misses, and labels always.
    """
    rng = Random(seed)
    labels: list[Label] = []
    while len(labels) < count:
        doubt = 10 ** -rng.uniform(0.2, 3.2)
        logit = log((1 - doubt) / doubt) + rng.gauss(told, 0.3)
        right = rng.random() >= doubt and rng.random() >= wrong
        taken = audited if logit > 3 else 1.0
        if rng.random() < taken:
            label = replace(_label(calibration.expit(logit), right=right), weight=1 / taken)
            labels.append(replace(label, served=served))
    return labels


def scope(count: int, **drawing: Any) -> Calibration:
    return Calibration(labels=tuple(drawn(count, **drawing)))


def _label(probability: float, *, right: bool = True) -> Label:
    found = Evidence(
        0.95, 0.2, 1.0, 1.0, 0.8, 4.0, company=10, recorded_probability=probability, crowd=CROWD
    )
    return Label(found, right, 1.0, "miss", False, "e")


def _curve(state: Calibration) -> tuple[conformal_bound.Point, ...]:
    """The levels over all of a state's drawn labels."""
    return conformal_bound.risk_curve(
        list(zip(calibration.recorded_probabilities(state), state.sampled, strict=True))
    )


SURE = Calibration(labels=(_label(0.995),) * 100)


def test_without_labels_the_prior_decides_and_every_hit_must_be_surer_than_the_target() -> None:
    bar = conformal_bound.bar_for(Calibration(), 0.02)
    assert (bar.basis, bar.risk, bar.upper) == ("prior", 1.0, 1.0)
    assert bar.level > 0.98


def test_once_there_are_labels_they_set_the_bar() -> None:
    bar = conformal_bound.bar_for(scope(600), 0.1)
    assert bar.basis == "labels"
    assert bar.risk <= 0.1
    assert bar.labels > 100


@given(st.integers(0, 10_000), shares, shares, st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_stricter_target_never_lowers_the_bar(
    seed: int, one: float, other: float, served: bool
) -> None:
    state = scope(150 + seed % 200, served=served, wrong=(seed % 7) / 50, seed=seed)
    strict, loose = sorted((one, other))
    assert (
        conformal_bound.bar_for(state, strict).level >= conformal_bound.bar_for(state, loose).level
    )


@given(st.integers(0, 10_000), shares, st.sets(st.integers(0, 299), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_more_wrong_labels_never_lower_the_bar(seed: int, target: float, turned: set[int]) -> None:
    state = scope(300, seed=seed)
    worse = replace(
        state,
        labels=tuple(
            replace(label, right=label.right and at not in turned)
            for at, label in enumerate(state.labels)
        ),
    )
    assert (
        conformal_bound.bar_for(worse, target).level >= conformal_bound.bar_for(state, target).level
    )


@pytest.mark.parametrize("target", [0.02, 0.1])
@pytest.mark.parametrize("told", [-0.7, 0.0, 0.7])  # too modest, as it is, too bold
@pytest.mark.parametrize("audited", [1.0, 0.1])
def test_over_many_scopes_the_mean_wrong_share_keeps_the_target(
    target: float, told: float, audited: float
) -> None:
    """The guarantee of conformal risk control, on labels and hits that are exchangeable."""
    wrong, hits = 0, 0
    for seed in range(60):
        level = conformal_bound.bar_for(
            scope(500, seed=seed, audited=audited, told=told), target
        ).level
        fresh = drawn(500, seed=1_000 + seed, told=told)
        let = [label for label in fresh if (label.evidence.recorded_probability or 0.0) >= level]
        hits += len(let)
        wrong += sum(not label.right for label in let)
    assert hits > 1_000
    low, _ = conformal_bound.wilson(wrong, hits)
    assert low <= target


def test_one_wrong_hit_that_nobody_has_seen_is_counted() -> None:
    """A hundred right labels of a certain scope do not show one wrong in a thousand."""
    assert all(label.right for label in SURE.labels)
    point = _curve(SURE)[-1]
    assert point.risk == pytest.approx(1 / len(SURE.labels), rel=0.01)
    assert conformal_bound.bar_for(SURE, 0.001).basis == "prior"


@given(st.integers(2, 100), st.floats(0.5, 0.999), st.floats(0.5, 0.999))
def test_a_label_taken_once_in_so_many_times_stands_for_as_many(
    times: int, rare: float, common: float
) -> None:
    """The weight of an audit is 1 / its share: it is told of as often, and seen once."""
    one = replace(_label(rare), weight=float(times))
    state = Calibration(labels=(one, *[_label(common)] * 100))
    served = _curve(state)[-1]
    told = (times * (1 - rare) + 100 * (1 - common)) / (times + 100)
    seen_and_unseen = 1 / ((1 - rare) + 100 * (1 - common))
    assert served.served == 1.0
    assert served.risk == pytest.approx(min(1.0, told * seen_and_unseen))


def test_a_heavy_label_widens_the_interval() -> None:
    light = (_label(0.99, right=False), *[_label(0.99)] * 199)
    heavy = (replace(light[0], weight=20.0), *light[1:])
    assert _curve(Calibration(labels=heavy))[-1].upper > 0.15
    assert _curve(Calibration(labels=light))[-1].upper < 0.03


def test_where_the_surest_labels_break_a_target_only_surer_ones_are_served() -> None:
    labels = tuple(_label(0.995, right=at % 20 > 0) for at in range(200))
    strict = conformal_bound.bar_for(Calibration(labels=labels), 0.02)
    assert strict.basis == "prior"
    assert strict.level > 0.995
    assert conformal_bound.bar_for(Calibration(labels=labels), 0.1).level == 0.995


def test_a_level_takes_all_that_were_told_the_same() -> None:
    """Also those that come last: a sort must not hide what is wrong behind what is right."""
    labels = tuple(_label(0.97, right=at < 150) for at in range(200))
    assert conformal_bound.bar_for(Calibration(labels=labels), 0.05).basis == "prior"


def test_few_labels_show_nothing() -> None:
    assert conformal_bound.bar_for(scope(calibration.LEAST - 1), 0.3).basis == "prior"


def test_hits_that_are_wrong_too_often_close_the_scope() -> None:
    bar = conformal_bound.bar_for(scope(300, served=True, wrong=0.3), 0.05)
    assert bar.basis == "closed"
    assert bar.level > 1


def test_a_closed_scope_opens_again_once_misses_have_taught_it() -> None:
    state = scope(200, served=True, wrong=0.3)
    assert conformal_bound.bar_for(state, 0.05).basis == "closed"
    for label in drawn(1_800, seed=4):
        state = calibration.learn(state, label)
    state = calibration.refit(state)
    assert conformal_bound.bar_for(state, 0.05).basis == "labels"


def test_a_new_scope_audits_much_and_a_known_one_a_hundredth() -> None:
    new = Bar(0.01, 0.9, "labels", 0.01, 0.02, 300, audits=0)
    known = Bar(0.01, 0.9, "labels", 0.01, 0.02, 300, audits=100)
    assert conformal_bound.audit_share(new, 0.9) == conformal_bound.CEILING
    assert conformal_bound.audit_share(known, 0.9) == conformal_bound.FLOOR


def test_hits_just_over_the_bar_are_audited_most() -> None:
    bar = Bar(0.01, 0.9, "labels", 0.01, 0.02, 300, audits=20)
    shares = [conformal_bound.audit_share(bar, p) for p in (0.9, 0.95, 0.99, 1.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == conformal_bound.FLOOR


def test_the_interval_is_wilsons() -> None:
    low, high = conformal_bound.wilson(1, 100)
    assert low == pytest.approx(0.00177, abs=1e-4)
    assert high == pytest.approx(0.0545, abs=1e-3)
    assert conformal_bound.wilson(0, 0) == (0.0, 1.0)
    assert conformal_bound.wilson(0, 299)[1] == pytest.approx(0.0127, abs=1e-3)


def test_the_curve_serves_more_as_it_goes_down() -> None:
    points = _curve(scope(1_000))
    assert [p.served for p in points] == sorted(p.served for p in points)
    assert [p.level for p in points] == sorted((p.level for p in points), reverse=True)


@given(st.integers(0, 10_000), shares, st.booleans(), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_no_level_lies_under_the_floor(seed: int, target: float, served: bool, told: float) -> None:
    count = 30 + seed % 300
    bar = conformal_bound.bar_for(scope(count, served=served, seed=seed, told=told), target)
    assert bar.level >= conformal_bound.probability_floor(target) == bar.floor


def test_where_labels_would_let_through_anything_the_floor_holds() -> None:
    """Easy ones pay for unlikely ones: the average alone asks for 0.3."""
    easy, unlikely = [_label(0.999)] * 300, [_label(0.3)] * 20
    state = Calibration(labels=(*easy, *unlikely))
    assert _curve(state)[-1].level == 0.3
    assert _curve(state)[-1].risk < 0.1
    bar = conformal_bound.bar_for(state, 0.1)
    assert (bar.basis, bar.level) == ("labels", 0.5)


def test_only_labels_that_are_supported_show_what_a_level_lets_through() -> None:
    near, far = [_label(0.95)] * 200, [_at(0.2, _label(0.97, right=False))] * 100
    bar = conformal_bound.bar_for(Calibration(labels=(*near, *far)), 0.1)
    assert (bar.basis, bar.level, bar.labels) == ("labels", 0.95, 200)
    beside = [_at(CROWD, label) for label in far]
    assert conformal_bound.bar_for(Calibration(labels=(*near, *beside)), 0.1).basis == "prior"


def test_labels_that_were_wrong_support_nothing() -> None:
    rng = Random(4)
    right = [_at(rng.gauss(CROWD, 0.02), _label(0.99)) for _ in range(200)]
    wrong = [_at(rng.uniform(0.3, 0.6), _label(0.99, right=False)) for _ in range(20)]
    before, after = (
        conformal_bound.bar_for(Calibration(labels=tuple(labels)), 0.1)
        for labels in (right, right + wrong)
    )
    assert after.support == before.support


def _at(crowd: float, label: Label) -> Label:
    return replace(label, evidence=replace(label.evidence, crowd=crowd))


def test_one_callers_labels_do_not_widen_the_support_of_a_bar() -> None:
    rng = Random(3)
    others = [
        replace(_at(rng.gauss(CROWD, 0.02), _label(0.99)), caller=f"c{at % 5}") for at in range(200)
    ]
    sent = [replace(_at(rng.uniform(0.3, 0.6), _label(0.99)), caller="mallory")] * 150
    before, after = (
        conformal_bound.bar_for(Calibration(labels=tuple(labels)), 0.1)
        for labels in (others, others + sent)
    )
    held = [one for one in others if before.support.contains(one.evidence)]
    assert len(held) > 150
    assert sum(after.support.contains(one.evidence) for one in held) >= 0.97 * len(held)
    for crowd in (0.3, 0.45, 0.6):
        assert not after.support.contains(_at(crowd, sent[0]).evidence)
    assert not after.support.contains(sent[0].evidence)
