from __future__ import annotations

import pytest

from cacheserver.policy import compare, lexicon
from cacheserver.policy.compare import Grouped, assign, same_answer, verdict
from cacheserver.policy.profile import Profile, read

WORDS = lexicon.standard()


def profile(text: str) -> Profile:
    return read(text, WORDS)


PARIS = profile("The capital of France is Paris.")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Wait 3 days for the card.", "Wait 5 days for the card."),
        ("Yes, you can do that.", "No, you can not do that."),
        ("It costs 20 dollars.", "It costs 30 dollars."),
    ],
)
def test_a_cosine_near_one_does_not_hide_another_figure_or_a_denial(one: str, other: str) -> None:
    assert same_answer(0.95, profile(one), profile(other)) < compare.SAME


def test_two_wordings_of_one_answer_are_the_same() -> None:
    other = profile("Paris is the capital of France.")
    assert same_answer(0.93, PARIS, other) > compare.SURE


def test_answers_that_share_neither_words_nor_meaning_differ() -> None:
    assert same_answer(0.2, PARIS, profile("Turn the oven to a low heat.")) < 1 - compare.SURE


def test_the_comparison_has_no_order() -> None:
    other = profile("Paris, with 2 million people, is the capital.")
    assert same_answer(0.8, PARIS, other) == same_answer(0.8, other, PARIS)


def test_the_nearest_wording_of_a_group_decides() -> None:
    far, near = Grouped("g", 0.3, profile("Ask elsewhere.")), Grouped("g", 0.97, PARIS)
    assert verdict(PARIS, [far, near]) is True
    assert verdict(PARIS, [far]) is False


def test_a_comparison_that_is_not_sure_is_no_label() -> None:
    assert verdict(PARIS, []) is None
    assert verdict(PARIS, [Grouped("g", 0.60, PARIS)]) is None


def test_an_answer_joins_the_surest_group_and_else_founds_its_own() -> None:
    close, closer = Grouped("close", 0.9, PARIS), Grouped("closer", 0.97, PARIS)
    assert assign(PARIS, [close, closer]) == "closer"
    assert assign(PARIS, [Grouped("far", 0.2, PARIS)]) is None
    assert assign(PARIS, []) is None
