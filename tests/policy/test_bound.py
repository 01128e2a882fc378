from __future__ import annotations

from random import Random

import pytest

from cacheserver.policy import bound, calibrate
from cacheserver.policy.bound import Bar
from cacheserver.policy.calibrate import Calibration, Label
from cacheserver.policy.neighbours import Evidence


def scope(count: int, *, served: bool = False, wrong: float = 0.0, seed: int = 1) -> Calibration:
    """A scope where the share of neighbours tells; `wrong` of its hits are wrong whatever it is."""
    rng, state = Random(seed), Calibration()
    for _ in range(count):
        share = rng.randrange(6) / 5
        right = rng.random() < (0.02, 0.2, 0.5, 0.8, 0.97, 0.999)[int(share * 5)]
        right = right and rng.random() >= wrong
        found = Evidence(0.9, 0.1, share, share, 0.8, 0.0, company=10)
        source = calibrate.Source.__args__[served]  # type: ignore[attr-defined]
        state = calibrate.learn(state, Label(found, right, 1.0, source, served, "e", "v"))
    return calibrate.refit(state)


def test_without_labels_the_prior_decides_and_every_hit_must_be_surer_than_the_target() -> None:
    bar = bound.bar_for(Calibration(), 0.02)
    assert (bar.basis, bar.upper) == ("prior", 1.0)
    assert bar.level > 0.98


@pytest.mark.parametrize("target", [0.02, 0.05, 0.1])
def test_what_a_bar_lets_through_keeps_its_target_on_fresh_traffic(target: float) -> None:
    state, fresh = scope(1_500), scope(1_500, seed=2)
    bar = bound.bar_for(state, target)
    let = [x for x in fresh.labels if calibrate.probability(state, x.evidence) >= bar.level]
    assert bar.basis == "labels"
    assert bar.upper <= target
    assert len(let) > 100
    assert sum(not x.right for x in let) / len(let) <= target


def test_a_stricter_target_never_lowers_the_bar() -> None:
    state = scope(1_500)
    levels = [bound.bar_for(state, target).level for target in (0.3, 0.1, 0.05, 0.02, 0.01)]
    assert levels == sorted(levels)


def test_few_labels_show_nothing() -> None:
    assert bound.bar_for(scope(bound.LEAST - 1), 0.3).basis == "prior"


def test_hits_that_are_wrong_too_often_close_the_scope() -> None:
    bar = bound.bar_for(scope(300, served=True, wrong=0.3), 0.05)
    assert bar.basis == "closed"
    assert bar.level > 1


def test_a_closed_scope_opens_again_once_misses_have_taught_it() -> None:
    state = scope(200, served=True, wrong=0.3)
    assert bound.bar_for(state, 0.05).basis == "closed"
    for label in scope(1_800, seed=4).labels:
        state = calibrate.learn(state, label)
    assert bound.bar_for(calibrate.refit(state), 0.05).basis == "labels"


def test_a_new_scope_audits_much_and_a_known_one_a_hundredth() -> None:
    new = Bar(0.01, 0.9, "labels", 0.01, 300, audits=0)
    known = Bar(0.01, 0.9, "labels", 0.01, 300, audits=100)
    assert bound.audit_share(new, 0.9) == bound.CEILING
    assert bound.audit_share(known, 0.9) == bound.FLOOR


def test_hits_just_over_the_bar_are_audited_most() -> None:
    bar = Bar(0.01, 0.9, "labels", 0.01, 300, audits=20)
    shares = [bound.audit_share(bar, p) for p in (0.9, 0.95, 0.99, 1.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == bound.FLOOR


def test_the_interval_is_wilsons() -> None:
    low, high = bound.wilson(1, 100)
    assert low == pytest.approx(0.00177, abs=1e-4)
    assert high == pytest.approx(0.0545, abs=1e-3)
    assert bound.wilson(0, 0) == (0.0, 1.0)
    assert bound.wilson(0, 299)[1] == pytest.approx(0.0127, abs=1e-3)


def test_the_curve_serves_more_as_it_goes_down() -> None:
    points = bound.curve(scope(1_000))
    assert [p.served for p in points] == sorted(p.served for p in points)
    assert [p.level for p in points] == sorted((p.level for p in points), reverse=True)


def test_a_bar_falls_half_of_the_way_and_rises_at_once() -> None:
    state = scope(1_500)
    free = bound.bar_for(state, 0.05)
    high, low = Bar(0.05, 0.99, "labels", 0.05, 9, 9), Bar(0.05, 0.1, "labels", 0.05, 9, 9)
    assert bound.bar_for(state, 0.05, high).level == pytest.approx((free.level + 0.99) / 2)
    assert bound.bar_for(state, 0.05, low).level == free.level
