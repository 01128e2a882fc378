"""Shift: foreign questions among a stream's own, and windows of wrong hits."""

from __future__ import annotations

from dataclasses import replace
from math import comb
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.evaluation import easy, foreign, shift
from scripts.evaluation.baselines import Threshold, VCache
from scripts.evaluation.data import Folder, Question
from scripts.evaluation.deciders import Decider, fork, ours
from scripts.evaluation.shift import Shifted
from scripts.evaluation.stream import Settings, Traffic
from scripts.evaluation.vectors import Embeddings
from scripts.evaluation.windows import quantile, windows
from scripts.pairs.types import Pair
from tests.evaluation.streams import SIZES, desk, strange

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("planted", [0, 9])
def test_a_planted_excess_of_wrong_hits_is_found_in_its_window(planted: int) -> None:
    hits = [i % 2 == 0 for i in range(2_000)]
    wrong = [hit and i % 400 == 0 for i, hit in enumerate(hits)]  # one in 200 hits
    for i in range(1_002, 1_002 + 2 * planted, 2):
        wrong[i] = True
    over = [one.first for one in windows(hits, wrong, 0.01) if one.over]
    assert over == ([1_000] if planted else [])
    assert [one.first for one in windows(hits, wrong, 0.01, since=700)] == [700, 1_200]


@given(st.integers(0, 120), st.floats(0.001, 0.5))
def test_the_quantile_is_the_least_count_that_chance_stays_within(count: int, share: float) -> None:
    def within(k: int) -> float:
        chances = (comb(count, i) * share**i * (1 - share) ** (count - i) for i in range(k + 1))
        return sum(chances)

    k = quantile(count, share)
    assert within(k) >= 0.999 - 1e-9
    assert k == 0 or within(k - 1) < 0.999 + 1e-9


def served_everything(traffic: Traffic, seed: int) -> Decider:
    return Threshold(traffic, -1.0)


def served_nothing(traffic: Traffic, seed: int) -> Decider:
    return Threshold(traffic, 2.0)


def test_a_foreign_question_that_gets_an_answer_of_the_home_stream_is_counted(
    embeddings: Embeddings,
) -> None:
    made = Shifted(desk(200), {"atlas": strange(40)}, embeddings, seed=1, sizes=SIZES)
    found = {share: c for _, share, c in made.runs(served_everything, 0.01, (0.2, 1.0))}
    assert (found[0.0].foreign, found[0.0].home) == (40, 40)
    assert (found[1.0].foreign, found[1.0].home, found[1.0].other) == (40, 40, 0)
    assert (found[0.2].foreign, found[0.2].requests) == (10, 50)
    row = shift.row("desk", "atlas", 1.0, "all", 0.01, found[1.0])
    assert row.served == row.astray == row.wrong == 1.0
    assert "MISSED" in shift.verdict(row)
    kept = {share: c for _, share, c in made.runs(served_nothing, 0.01, (1.0,))}
    assert (kept[1.0].served, kept[1.0].hits, kept[0.0].served) == (0, 0, 0)


def test_answers_of_other_foreign_questions_are_judged_by_their_own_meaning(
    embeddings: Embeddings,
) -> None:
    same = [replace(one, meaning="other: one") for one in strange(10)]
    made = Shifted(desk(200), {"same": same, "apart": strange(10)}, embeddings, seed=1, sizes=SIZES)
    runs = made.runs(lambda traffic, _: Threshold(traffic, 0.8), 0.01, (1.0,))
    found = {(source, share): counts for source, share, counts in runs}
    assert (found["same", 1.0].own, found["same", 1.0].other) == (9, 0)
    assert (found["apart", 1.0].own, found["apart", 1.0].other) == (0, 9)
    assert found["same", 0.0].served == found["apart", 0.0].served == 0
    assert (found["same", 1.0].wrong, found["apart", 1.0].wrong) == (0, 9)


def test_ours_is_stepped_like_any_other_way(embeddings: Embeddings) -> None:
    made = Shifted(desk(200), {"atlas": strange(20)}, embeddings, seed=1, sizes=SIZES)
    for _, share, counts in made.runs(ours(Settings()), 0.01, (0.5,)):
        assert counts.foreign == 20
        assert counts.requests == (40 if share else 0)  # 0: look-ups
        assert counts.wrong <= counts.hits


def test_rows_are_pooled_by_way_with_look_ups_apart() -> None:
    rows = [
        shift.row("a", "b", share, way, 0.01, shift.Counts(foreign=100, home=home))
        for share, way, home in ((0.0, "x", 7), (0.2, "x", 1), (0.5, "x", 2), (0.5, "y", 4))
    ]
    mixed = {row.way: row.served for row in shift.pooled(rows, read_only=False)}
    assert mixed == {"x": 0.015, "y": 0.04}
    assert [row.served for row in shift.pooled(rows, read_only=True)] == [0.07]


def test_one_foreign_question_is_taken_of_what_a_set_calls_the_same() -> None:
    listed = [Pair("a", "b", 1, "x"), Pair("b", "c", 1, "x"), Pair("c", "d", 0, "x")]
    assert [one.text for one in foreign.unlike(listed)] == ["a", "d"]


def test_no_home_asks_what_another_is_asked() -> None:
    rows = [
        Question("block my card", "card", "card", "card", domain="credit_cards"),
        Question("tell a joke", "joke", "joke", "joke", domain="small_talk"),
        Question("what", "oos: what", "what", "oos"),
    ]
    made = Folder({}, {"talk": rows, "talk, reworded": rows}, {}, {}, {})
    homes = foreign.homes(made, "all")
    assert {name: len(listed) for name, listed in homes.items()} == {
        "talk": 1,
        "easy": len(easy.stream()),
    }
    (one,) = foreign.strangers(made, homes)["talk"]
    assert one.meaning == "talk: joke"


def test_a_peek_changes_nothing(embeddings: Embeddings) -> None:
    made = Shifted(desk(120), {}, embeddings, seed=3, sizes=SIZES)
    for make in (
        ours(Settings()),
        served_everything,
        lambda traffic, seed: VCache(traffic, 0.2, seed),
    ):
        looked, plain = make(made.traffic, 1), make(made.traffic, 1)
        for at in range(100):
            served = looked.peek(at)
            looked.ask(at)
            plain.ask(at)
            exact = looked.outcome.exact[-1]
            assert exact or looked.outcome.hits[-1] == (served is not None)
        assert looked.outcome == plain.outcome


def test_a_fork_leaves_what_it_was_forked_from(embeddings: Embeddings) -> None:
    made = Shifted(desk(120), {}, embeddings, seed=3, sizes=SIZES)
    one = ours(Settings())(made.traffic, 1)
    for at in range(40):
        one.ask(at)
    other = fork(one, made.traffic)
    for at in range(40, 80):
        other.ask(at)
    assert (len(one.outcome.hits), len(other.outcome.hits)) == (40, 80)
