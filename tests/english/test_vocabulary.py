"""Coverage: the share of a question's words that questions with the answer say, too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.english.language import english
from cacheserver.matching.profile import Profile

ENGLISH = english()
some = ("pay", "download", "print", "invoice", "order", "12", "Paris", "the", "my", "how", "ordre")
texts = st.lists(st.sampled_from(some), max_size=6).map(" ".join)


def said(*texts: str) -> list[Profile]:
    return [ENGLISH.profile(text) for text in texts]


def covered(question: str, *texts: str) -> float:
    return ENGLISH.coverage(ENGLISH.profile(question), said(*texts))


@pytest.mark.parametrize(
    "question",
    [
        "Where can I download an invoice?",  # words that only ask are none
        "How do I print my invoice?",  # each said by one of them
        "How do I downlaod my invoices?",  # a slip, a plural
        "How?",  # nothing to say
    ],
)
def test_what_others_with_the_answer_say_is_covered(question: str) -> None:
    said = ("How do I download my invoice?", "Tell me how to print a receipt")
    assert covered(question, *said) == 1.0


def test_a_synonym_is_the_same_word() -> None:
    assert covered("Where do I purchase a notebook?", "How can I buy a laptop?") == 1.0


def test_a_new_word_counts_by_how_rare_it_is() -> None:
    said = "How do I download my invoice?"
    assert covered("How do I dispute my invoice?", said) == pytest.approx(0.5)  # both rare
    assert covered("How do I pay my order?", said) == 0.0
    common, rare = "How do I change my invoice?", "How do I frank my invoice?"
    assert covered(rare, said) < covered(common, said) < 1.0


def test_where_nobody_says_anything_all_of_it_is_new() -> None:
    assert covered("How do I pay my invoice?") == 0.0


@given(texts, st.lists(texts, max_size=4), texts)
def test_it_is_a_share_that_more_questions_never_lower(
    question: str, some: list[str], another: str
) -> None:
    before, after = covered(question, *some), covered(question, *some, another)
    assert 0.0 <= before <= after <= 1.0
    assert covered(question, *some, question) == 1.0


@given(texts, st.lists(texts, max_size=4), st.integers(0, 6))
def test_a_word_that_none_of_them_says_always_lowers_it(
    question: str, some: list[str], at: int
) -> None:
    words = question.split()
    longer = " ".join([*words[:at], "zyxomma", *words[at:]])
    assert covered(longer, *some) < covered(question, *some) or covered(question, *some) == 0.0
