from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from cacheserver.core.evidence import Evidence
from cacheserver.matching import calibration
from cacheserver.matching.calibration import Calibration, Label

ALONE = Evidence(0.9, 0.1, 0.2, 1.0, 0.0, prior=1.2)


def evidence(rng: Random) -> Evidence:
    return Evidence(
        cosine=rng.uniform(0.5, 1.0),
        margin=rng.uniform(-0.1, 0.4),
        share=rng.randrange(6) / 5,
        pull=rng.random(),
        second=rng.uniform(0.4, 0.9),
        prior=rng.gauss(0, 1),
        company=10,
    )


def label(found: Evidence, right: bool, weight: float = 1.0) -> Label:
    return Label(found, right, weight, "miss", False, "embedder")


def taught(count: int, seed: int = 1, flip: float = 0.0) -> Calibration:
    """A scope in which the margin alone decides."""
    rng, state = Random(seed), Calibration()
    for _ in range(count):
        found = evidence(rng)
        right = found.margin > 0.1
        state = calibration.learn(state, label(found, right != (rng.random() < flip)))
    return calibration.refit(state)


def test_a_new_scope_with_one_entry_says_what_the_prior_says() -> None:
    assert calibration.probability(Calibration(), ALONE) == pytest.approx(calibration.expit(1.2))


def test_labels_bend_the_probability_towards_what_they_show() -> None:
    state = taught(600)
    found = evidence(Random(9))
    assert calibration.probability(state, replace(found, margin=0.3)) > 0.95
    assert calibration.probability(state, replace(found, margin=-0.05)) < 0.05


def test_the_fit_is_calibrated_on_labels_it_has_not_seen() -> None:
    state, rng = taught(1_500, flip=0.2), Random(77)
    unseen = [evidence(rng) for _ in range(1_500)]
    told = sum(calibration.probability(state, found) for found in unseen)
    right = sum((found.margin > 0.1) != (rng.random() < 0.2) for found in unseen)
    assert told == pytest.approx(right, rel=0.1)


def test_a_few_labels_move_the_prior_little() -> None:
    before = calibration.probability(Calibration(), ALONE)
    state = calibration.refit(calibration.learn(Calibration(), label(ALONE, False)))
    assert before - 0.25 < calibration.probability(state, ALONE) < before


def test_the_window_forgets_the_oldest() -> None:
    state = Calibration()
    for at in range(calibration.MAX_LABELS + 5):
        state = calibration.learn(state, label(replace(ALONE, cosine=at / 10_000), True))
    assert len(state.labels) == calibration.MAX_LABELS
    assert state.labels[0].evidence.cosine == pytest.approx(5 / 10_000)


def test_a_fit_where_everything_is_right_stays_finite() -> None:
    rng, state = Random(3), Calibration()
    for _ in range(300):
        state = calibration.learn(
            state, label(evidence(rng), True, weight=rng.choice((1.0, 100.0)))
        )
    for _ in range(5):
        state = calibration.refit(state)
    assert max(map(abs, state.weights)) < 50


def test_learning_is_due_often_at_first_and_seldom_later() -> None:
    state = Calibration()
    for _ in range(10):
        assert not state.refit_due
        state = calibration.learn(state, label(ALONE, True))
    assert state.refit_due
    assert not calibration.refit(state).refit_due


def confusable(count: int = 600) -> Calibration:
    """A scope in which the evidence says the same of three groups, and one has a near double."""
    rng, state = Random(11), Calibration()
    for at in range(count):
        group = ("clean", "double", "usual")[at % 3]
        right = rng.random() < {"clean": 1.0, "double": 0.5, "usual": 0.9}[group]
        state = calibration.learn(state, label(replace(evidence(rng), group=group), right))
    return calibration.refit(state)


def test_a_group_is_trusted_by_its_own_past() -> None:
    state, found = confusable(), evidence(Random(4))
    clean, double, usual, unknown = (
        calibration.probability(state, replace(found, group=group))
        for group in ("clean", "double", "usual", "never seen")
    )
    assert double < usual < clean
    assert unknown == calibration.probability(state, found)


def test_no_past_of_a_group_makes_it_certain() -> None:
    state = Calibration()
    for _ in range(500):
        state = calibration.learn(state, label(replace(ALONE, group="g"), True))
    state = calibration.refit_offsets(state)
    gained = calibration.probability(state, replace(ALONE, group="g"))
    assert gained <= calibration.probability(Calibration(), ALONE, adjustment=2.0)


def test_a_label_is_told_by_what_was_known_when_it_was_decided() -> None:
    state = Calibration()
    for at in range(100):
        found = replace(ALONE, recorded_probability=at / 100)
        state = calibration.refit(calibration.learn(state, label(found, False)))
    assert calibration.recorded_probabilities(state) == [at / 100 for at in range(100)]


def test_a_label_of_an_older_version_is_told_by_the_fit() -> None:
    state = replace(calibration.learn(taught(300), label(ALONE, True)), fresh=0)
    assert calibration.recorded_probabilities(state)[-1] == calibration.probability(state, ALONE)


def test_what_labels_say_of_twins_is_learned() -> None:
    rng, state = Random(2), Calibration()
    twin = replace(ALONE, twin=True)
    for _ in range(300):
        state = calibration.learn(state, label(twin, rng.random() < 0.6))
    told = calibration.probability(calibration.refit(state), twin)
    assert told == pytest.approx(0.6, abs=0.1)
    assert calibration.probability(Calibration(), twin) > calibration.probability(
        Calibration(), ALONE
    )
