"""Fitting and judging: what the figures mean, and the signs that a fit must keep."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.pairs.evaluate import cleaned, figures
from scripts.pairs.fit import Rows, fit, groups_of, probabilities, reliability
from scripts.pairs.types import Pair


def test_traps_are_counted_at_the_score_that_keeps_the_share_of_duplicates() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.85, 0.65, 0.1, 0.1])
    labels = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0])
    made = figures(scores, labels)
    assert made.traps_at_60 == 0.25  # from 0.7 up: one of four
    assert made.traps_at_80 == 0.5
    assert made.auc == pytest.approx(14 / 20)


def test_a_tie_counts_against_us() -> None:
    made = figures(np.full(4, 0.5), np.array([1, 1, 0, 0]))
    assert (made.auc, made.traps_at_60) == (0.5, 1.0)


def drawn(names: tuple[str, ...], weights: list[float]) -> Rows:
    random = np.random.default_rng(1)
    terms = random.random((4_000, len(names)))
    told = 1 / (1 + np.exp(-(terms @ np.array(weights) - 1)))
    return Rows(names, terms, (random.random(4_000) < told).astype(float), np.ones(4_000))


def test_a_fit_finds_the_weights_that_made_the_labels() -> None:
    rows = drawn(("unlike_letters", "numeric", "cosine"), [4.0, -3.0, 2.0])
    weights = fit(rows)
    assert [weights[name] for name in rows.names] == pytest.approx([4, -3, 2], abs=0.5)
    assert weights["bias"] == pytest.approx(-1, abs=0.3)
    assert np.mean(probabilities(weights, rows)) == pytest.approx(rows.labels.mean(), abs=0.01)


def test_a_fit_never_takes_a_forbidden_sign() -> None:
    weights = fit(drawn(("unlike_letters", "numeric", "cosine"), [4.0, 3.0, -2.0]))
    assert weights["unlike_letters"] > 3
    assert weights["numeric"] == 0  # may only speak against
    assert weights["cosine"] == 0  # may only speak for


def test_reliability_counts_every_row_once() -> None:
    told = np.linspace(0, 1, 101)
    bands = reliability(told, np.ones(101))
    assert sum(count for _, count, _ in bands) == 101


def test_pairs_that_share_a_question_are_of_one_group() -> None:
    pairs = [
        Pair("a", "b", 1, ""),
        Pair("c", "d", 0, ""),
        Pair("b", "c", 0, ""),
        Pair("e", "f", 1, ""),
    ]
    assert groups_of(pairs) == [0, 0, 0, 1]


def test_contradictory_labels_are_left_out() -> None:
    same = Pair("Is tea hot?", "is tea hot", 0, "")
    fine = Pair("Is tea hot?", "Is milk hot?", 0, "")
    templated = [
        Pair(f"Who may park a car in {i}?", f"Who may park a car in {i + 1}?", 1, "")
        for i in range(9)
    ]
    assert cleaned([same, fine, *templated]) == [fine]
