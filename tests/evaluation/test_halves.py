"""Halves of every set: what is tuned on one is reported on the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from scripts.evaluation import halves
from scripts.evaluation.data import Folder, Question
from scripts.pairs.types import Pair

ROOT = Path(__file__).parents[2]


@given(st.lists(st.tuples(st.sampled_from("abcdefghij"), st.sampled_from("abcdefghij"))))
def test_halves_of_pairs_share_no_question_and_cover_all(edges: list[tuple[str, str]]) -> None:
    listed = [Pair(a, b, 1, "x") for a, b in edges]
    tune, report = (halves.of_pairs(listed, half) for half in ("tune", "report"))
    assert Counter(tune) + Counter(report) == Counter(listed)
    questions = [{text for pair in half for text in (pair.a, pair.b)} for half in (tune, report)]
    assert questions[0].isdisjoint(questions[1])


def test_halves_of_a_folder_are_disjoint_and_cover_all() -> None:
    questions = [Question(f"where is room {i}", str(i), "room") for i in range(200)]
    questions += [replace(one, text=one.text.upper()) for one in questions]
    listed = [Pair(f"is {i} even", f"is {i} odd", 0, "x") for i in range(100)]
    whole = Folder({"p": listed}, {"s": questions}, {}, {"p": listed}, {"p": listed})
    tune, report = halves.of(whole, "tune"), halves.of(whole, "report")
    for half in (tune, report):
        assert 60 < len(half.streams["s"]) / 2 < 140
        assert 25 < len(half.pairs["p"]) < 75
        assert half.pairs == half.whole == half.attacks
    assert Counter(tune.streams["s"]) + Counter(report.streams["s"]) == Counter(questions)
    texts = [{one.text.lower() for one in half.streams["s"]} for half in (tune, report)]
    assert texts[0].isdisjoint(texts[1])
    assert halves.of(whole, "all") is whole
