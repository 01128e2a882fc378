"""Characters that nobody sees, and letters that look like others: found, and shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core import invisible_characters

ODD = st.sampled_from("\u200b\u200d\u202e\u00ad\ufeff\ufe0f\U000e0041\u2800\x00\x1b\ue000")
TEXTS = st.lists(st.sampled_from(["a", "b ", "\u00e9", "\u4e2d", "\u2764", "1"]) | ODD).map("".join)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Refunds take 5 days.\r\n\tAsk.", []),
        ("na\u00efve \u4e2d\u6587 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", []),
        ("\u2764\ufe0f \U0001f469\u200d\U0001f4bb \U0001f469\U0001f3fd\u200d\U0001f4bb", []),
        ("\U0001f3f3\ufe0f\u200d\U0001f308", []),
        ("Press 1\ufe0f\u20e3", []),
        ("do \u200bnot", [(3, "\u200b")]),
        ("no\u200dt", [(2, "\u200d")]),
        ("\ufeffHi", [(0, "\ufeff")]),
        ("a\x00b", [(1, "\x00")]),
        ("\u00e9\u200b\u200d", [(1, "\u200b"), (2, "\u200d")]),
        ("say \U000e0068\U000e0069", [(4, "\U000e0068"), (5, "\U000e0069")]),
        ("\u202eabc", [(0, "\u202e")]),
    ],
)
def test_what_is_not_seen_is_found_and_ordinary_writing_is_not(
    text: str, found: list[tuple[int, str]]
) -> None:
    assert invisible_characters.found(text) == found


@given(TEXTS)
def test_without_what_is_found_nothing_is_found(text: str) -> None:
    places = {place for place, _ in invisible_characters.found(text)}
    assert all(invisible_characters.hides(text[place]) for place in places)
    rest = "".join(char for place, char in enumerate(text) if not invisible_characters.hides(char))
    assert invisible_characters.found(rest) == []


@given(TEXTS, TEXTS)
def test_texts_that_differ_are_shown_apart(one: str, other: str) -> None:
    assert (invisible_characters.shown(one) == invisible_characters.shown(other)) is (one == other)
    assert not any(map(invisible_characters.hides, invisible_characters.shown(one)))
    assert invisible_characters.line(one).isprintable()


def test_a_report_names_the_code_point() -> None:
    assert invisible_characters.shown("do\u200bnot\u00a0go\n") == "do<U+200B>not<U+00A0>go\n"
    assert invisible_characters.line("a\tb\x1b[31m") == "a<U+0009>b<U+001B>[31m"


@pytest.mark.parametrize(
    ("text", "alike"),
    [
        ("p\u0430ypal", [(1, "\u0430")]),
        ("Say \u0405tripe and n\u043et", [(4, "\u0405"), (16, "\u043e")]),
        ("\u041f\u0440\u0438\u0432\u0435\u0442, Bob", []),
        ("\u0441\u043e\u0440", []),
        ("na\u00efve caf\u00e9", []),
        ("a \u03b1-helix of 5 \u03bcm, k\u03a9", []),
        ("iPhone\u043e\u043c", []),
        ("plain", []),
    ],
)
def test_a_letter_that_looks_like_a_latin_one_is_told_beside_latin_ones_alone(
    text: str, alike: list[tuple[int, str]]
) -> None:
    assert invisible_characters.look_alikes(text) == alike


@pytest.mark.parametrize(
    ("text", "blank"),
    [("", True), (" \n\u00a0\u200b\u2800", True), ("\u200b.", False), ("\u0301", False)],
)
def test_a_text_is_blank_where_nothing_of_it_is_seen(text: str, blank: bool) -> None:
    assert invisible_characters.blank(text) is blank
