"""What is read from a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.english.language import english
from cacheserver.english.lexicon import stem
from cacheserver.matching.profile import Profile

ENGLISH = english()


def of(text: str) -> Profile:
    return ENGLISH.profile(text)


@pytest.mark.parametrize(
    ("text", "quantities"),
    [
        ("400 mg of it", {("400", "mg")}),
        ("400mg of it", {("400", "mg")}),
        ("400 milligrams of it", {("400", "mg")}),
        ("$50", {("50", "usd")}),
        ("50 dollars", {("50", "usd")}),
        ("1,500 km", {("1500", "km")}),
        ("30%", {("30", "%")}),
        ("thirty percent", {("30", "%")}),
        ("version 3.10", set()),
    ],
)
def test_numbers_are_read_with_their_units(text: str, quantities: set[tuple[str, str]]) -> None:
    assert of(text).quantities == quantities


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("at 3 pm", {"15:00"}),
        ("at 12 am", {"00:00"}),
        ("at 12:30pm", {"12:30"}),
        ("3,5 or 3.10 or 1,000,000", {"3,5", "3.10", "1000000"}),
        ("99 pm", {"99pm"}),
    ],
)
def test_times_of_day_and_separators_are_made_one(text: str, numbers: set[str]) -> None:
    assert of(text).numbers == numbers


def test_names_are_capitals_inside_a_sentence_and_words_with_digits() -> None:
    assert of("Does Karl own an S21? Yes.").names == {"karl", "s21"}
    assert of("DOES KARL OWN A DOG OR NOT").names == frozenset()


def test_code_flags_paths_and_quotes_are_kept_as_they_are() -> None:
    text = 'Why does `ls -A` in /etc/hosts call read_all() with --Force and "No Way"?'
    assert of(text).spans == {"ls -A", "/etc/hosts", "read_all()", "--Force", "no way"}


def test_or_not_denies_nothing() -> None:
    assert of("Is it true or not? Why not?").negations == 0
    assert of("It isn't, and I do not and cannot").negations == 3


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (("install", "installs", "installed", "installing"), True),
        (("running", "run"), True),
        (("city", "cities"), True),
        (("price", "prices"), True),
        (("bus", "bu"), False),  # a plural s is never taken after "u" or "s"
        (("thing", "th"), False),
    ],
)
def test_endings_are_taken_off_but_words_stay_apart(words: tuple[str, ...], same: bool) -> None:
    assert (len({stem(word) for word in words}) == 1) == same


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    profile = of(text)
    assert profile.bag == frozenset(profile.content)
    assert profile.numbers <= profile.bag
