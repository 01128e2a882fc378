"""The one normalisation: what it makes equal, what it refuses, what it leaves."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from cacheserver.english.language import english
from cacheserver.index.models import TOKENIZER
from cacheserver.matching.marks import bare, spell_marks
from cacheserver.matching.question_text import is_normal, matched_text, normalise
from tests.models import model_dir

ENGLISH = english()
ASKED = "What is the refund policy?"
INVISIBLE = (
    "\x00\x07\x1b\x7f\u0080\u00ad\u034f\u061c\u115f\u180e\u200b\u200d\u200e\u202e\u2060\u2063\u3164"
    "\ue000\ufe0f\ufeff\ufffd\ufffc\U000e0041\U000e0101\U000f0000\u0378\ud800"
)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (
            "\uff37\uff48\uff41\uff54\u3000\uff49\uff53\u3000\uff14\uff10\uff05\uff1f",
            "What is 40%?",
        ),
        ("cafe\u0301", "café"),
        ("٣ or ३ or \U0001d7db", "3 or 3 or 3"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("a\u00a0b\u2009c", "a b c"),
        ("ｶﾞ", "ガ"),
        ("  as it is\t", "as it is"),
    ],
)
def test_width_form_digits_and_line_ends_are_one(text: str, same: str) -> None:
    assert normalise(text) == same


@pytest.mark.parametrize("sign", INVISIBLE)
def test_a_sign_that_nobody_sees_makes_a_text_unreadable(sign: str) -> None:
    for text in (sign + ASKED, ASKED + sign, ASKED.replace("refund", f"re{sign}fund")):
        assert normalise(text) is None
        assert matched_text(text, ENGLISH) == (None, "unreadable")


@pytest.mark.parametrize("pair", ["résumé resume", "≤ ≰", "= ≠", "x² x2", "Ω O", "ß ss", "कि की"])
def test_what_an_accent_or_a_compatible_form_tells_stays(pair: str) -> None:
    one, other = pair.split()
    assert normalise(one) == one != normalise(other)


@given(st.text(max_size=40))
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = normalise(text)
    if once is not None:
        assert normalise(once) == once
        assert is_normal(once)
        assert unicodedata.is_normalized("NFC", once)


@given(st.text(max_size=30), st.sampled_from(INVISIBLE), st.integers(0, 30))
def test_an_invisible_sign_never_makes_a_twin(text: str, sign: str, at: int) -> None:
    assert matched_text(text[:at] + sign + text[at:], ENGLISH)[0] is None


def test_whatever_the_tokenizer_drops_is_refused_or_compared() -> None:
    tokenizer = Tokenizer.from_file(str(model_dir() / TOKENIZER))
    plain = tokenizer.normalizer.normalize_str("ab")
    for point in range(sys.maxunicode + 1):
        if 0xD800 <= point < 0xE000:
            continue
        text = f"a{chr(point)}b"
        normal = normalise(text)
        if normal is None or tokenizer.normalizer.normalize_str(normal) != plain:
            continue
        # Dropped, and not refused: a mark, which twins and vetoes compare.
        assert spell_marks(normal) != "ab", hex(point)
        assert bare(spell_marks(normal)) == "ab", hex(point)
        one, other = ENGLISH.profile(f"Is {normal} here?"), ENGLISH.profile("Is ab here?")
        assert not ENGLISH.are_twins(ENGLISH.compare(one, other)), hex(point)


@pytest.mark.parametrize(
    "text",
    [
        "x = 5\nif x:\n    y",
        "Fix: for i in x:\n  f(i)",
        "What does this print?\nfor i in a:\n f(i)\ng(i)",
        "Is this right?\na:\n b: 1\nc: 2",
        "How many spaces are in a  b?",
        "How do I strip blanks from x   y?",
        "Solve x^2 + 3x = 5",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "a\tb\nc\td",
        "def f(x): return x",
        "SELECT name FROM users",
        "```ls```",
        "What is \\frac{1}{2}?",
        "Is $x^2$ even?",
        "for (int i=0;i<n;i++) { x(); }",
        "A \u222a B",
        "<b>bold</b>",
    ],
)
def test_code_formulas_and_layout_are_matched_exactly_only(text: str) -> None:
    assert matched_text(text, ENGLISH) == (None, "code")
    assert matched_text(text, ENGLISH, code=True) == (text, None)


@pytest.mark.parametrize(
    "text",
    [
        "How do I use C++ and C#?",
        "What is 10% of 50?",
        "What does `ls -A` do?",
        "Why does read_all() hang?",
        "I paid $5 and then $6",
        "What is ?. in JavaScript?",
        "My card\nis lost",
        "Either/or: which one?",
        "Where is /etc/hosts?",
        "10 < 20, right?",
    ],
)
def test_a_question_with_a_name_from_code_is_matched_by_similarity(text: str) -> None:
    assert matched_text(text, ENGLISH) == (text, None)


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("Hi team, how do I pay? Many thanks!", "how do I pay?"),
        ("Where is it, please?", "Where is it?"),
        ("Good morning,\nwhere is my order?\nBest regards", "where is my order?"),
        ("Thank you", "Thank you"),
        ("How do I say thanks in French?", "How do I say thanks in French?"),
        ("how do i say please", "how do i say please"),
        ("Hi team, wo ist mein Paket?", "Hi team, wo ist mein Paket?"),
    ],
)
def test_greetings_and_thanks_are_no_part_of_a_question(text: str, inner: str) -> None:
    assert matched_text(text, ENGLISH) == (inner, None)
