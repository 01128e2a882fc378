"""The harness judged on data small enough to count by hand."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest

from scripts.evaluation import baselines, mixed, pairs, report, vcache, zipf
from scripts.evaluation.data import Question
from scripts.evaluation.near import StoredVectors
from scripts.evaluation.stream import Outcome, Replay, Settings, Traffic
from scripts.pairs.types import Pair


def traffic(meanings: list[int], seed: int = 1, *, repeated: bool = False) -> Traffic:
    """Questions near their meaning's own direction. Texts differ in blanks."""
    rng = np.random.default_rng(seed)
    rows = np.eye(16, dtype=np.float32)[meanings] + rng.normal(0, 0.05, (len(meanings), 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    words = (
        *("amber", "birch", "cedar", "delta", "ember", "frost"),
        *("grove", "heath", "iris", "jade", "kelp", "lotus"),
    )
    questions = [
        Question(f"where is the {words[m]} kept{' ' * i * (not repeated)}", str(m), words[m])
        for i, m in enumerate(meanings)
    ]
    return Traffic(questions, rows)


@pytest.mark.parametrize("dial", [0.05, 0.2])
def test_the_dial_is_the_share_of_traps_and_each_follows_what_it_resembles(dial: float) -> None:
    questions = [Question(f"q{i}", f"m{i % 9}", "t") for i in range(1_000)]
    pairs = [Pair(f"a{i}", f"b{i}", 0, "x") for i in range(500)]
    made = mixed.mix(questions, pairs, dial, seed=3)
    assert sum(a.trap for a in made) / len(made) == pytest.approx(dial, rel=0.1)
    seen: set[str] = set()
    for one in made:
        assert not one.trap or one.text.replace("b", "a") in seen
        seen.add(one.text)


def test_the_perfect_decision_is_never_wrong_and_misses_each_meaning_once() -> None:
    outcome = baselines.perfect(traffic([0, 1, 0, 1, 2, 0]))
    assert outcome.hits == [False, False, True, True, False, True]
    assert not any(outcome.wrong)


def test_a_threshold_is_wrong_where_another_meaning_is_near_enough() -> None:
    assert sum(baselines.static(traffic([0, 1, 2]), -1.0).wrong) == 2
    assert not any(baselines.static(traffic([0, 1, 2]), 0.9).hits)


def test_vcache_explores_until_an_entry_was_seen_often_enough() -> None:
    entry = vcache.Entry()
    assert vcache.exploration(entry, 0.99, 0.01) == 1.0
    for _ in range(60):
        entry.observe(0.95, True)
        entry.observe(0.5, False)
    assert vcache.exploration(entry, 0.99, 0.2) < vcache.exploration(entry, 0.6, 0.2)


def test_a_replay_learns_to_serve_what_repeats_and_charges_its_audits() -> None:
    rng = Random(1)
    made = traffic([rng.randrange(12) for _ in range(700)])
    outcome = Replay(made, Settings(target=0.05), seed=1).run()
    assert sum(outcome.hits[350:]) > 200
    assert sum(outcome.wrong) / sum(outcome.hits) <= 0.05
    row = report.row("mine", "ours", 0.05, [outcome])
    assert row.charged < row.hits
    assert row.charged == pytest.approx(
        (sum(outcome.hits) - sum(outcome.audited)) / len(outcome.hits)
    )


def test_a_row_pools_the_seeds_and_bounds_the_wrong_share() -> None:
    one = Outcome()
    for i in range(100):
        one.note(hit=True, right=i > 0)
    row = report.row("s", "w", 0.01, [one, one])
    assert (row.hits, row.wrong, row.second_half) == (1.0, 0.01, 0.0)
    assert row.interval[0] < 0.01 < row.interval[1]


def test_the_same_text_again_is_an_exact_hit_and_no_decision() -> None:
    made = traffic([0, 1, 0, 0], repeated=True)
    outcome = Replay(made, Settings(), seed=1).run()
    assert outcome.exact == [False, False, True, True]
    assert not any(outcome.hits)


def test_zipf_traffic_asks_few_intents_often_and_each_in_several_wordings() -> None:
    questions = [Question(f"q{i}", f"m{i % 50}", "t", f"m{i % 50}") for i in range(1_000)]
    drawn = zipf.draw(questions, 4_000, seed=5)
    counts = sorted(Counter(one.intent for one in drawn).values(), reverse=True)
    harmonic = sum(1 / n for n in range(1, 51))
    assert counts[0] / 4_000 == pytest.approx(1 / harmonic, rel=0.15)
    assert counts[0] > 5 * counts[25]
    most = max(set(drawn), key=drawn.count).intent
    assert len({one.text for one in drawn if one.intent == most}) > 10
    assert drawn == zipf.draw(questions, 4_000, seed=5)


def test_the_nearest_stored_rows_come_nearest_first() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(40, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    kept = StoredVectors(rows)
    for at in range(39):
        kept.add(at)
    expected = sorted(range(39), key=lambda i: -float(rows[i] @ rows[39]))
    assert [row for row, _ in kept.nearest(39, 7)] == expected[:7]
    assert [row for row, _ in kept.nearest(39, 1)] == expected[:1]


def test_traps_at_a_share_kept_are_counted_with_ties_against_us() -> None:
    listed = [Pair(f"a{i}", f"b{i}", int(i < 5), "x") for i in range(10)]
    told = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.95, 0.7, 0.1, 0.0, 0.0])
    made = pairs.figures("x", "mine", told, listed)
    assert made.scores.traps_at_60 == pytest.approx(2 / 5)  # the bar is 0.7, reached by two
    assert dict(made.curve)[0.6] == pytest.approx(2 / 5)
    assert made.interval[0] < 2 / 5 < made.interval[1]
