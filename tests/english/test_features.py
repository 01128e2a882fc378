"""Features: finite, symmetric, zero where nothing differs."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from cacheserver.english.language import english
from cacheserver.matching.features import NAMES
from cacheserver.matching.language import ALL_VETOES

ENGLISH = english()
SAID = "How do I not fix 3 mg zips from Oslo to Bergen before Monday ?"

texts = st.text(max_size=40) | st.lists(st.sampled_from(SAID.split())).map(" ".join)


def of(a: str, b: str) -> dict[str, float]:
    difference = ENGLISH.compare(ENGLISH.profile(a), ENGLISH.profile(b))
    fired = ENGLISH.vetoes(difference, ALL_VETOES)
    return dict(zip(NAMES, ENGLISH.features(difference, fired), strict=True))


@given(texts, texts)
def test_features_are_finite_and_do_not_depend_on_the_order(a: str, b: str) -> None:
    one, other = of(a, b), of(b, a)
    assert all(math.isfinite(value) and value >= 0 for value in one.values())
    assert {k: round(v, 9) for k, v in one.items()} == {k: round(v, 9) for k, v in other.items()}


@given(texts)
def test_a_text_beside_itself_shows_no_difference(text: str) -> None:
    told = {"unlike_words", "same_words", "short", "unlike_letters"}
    one = of(text, text)
    assert one["unlike_letters"] == 0 or not text
    assert one["same_words"] == 1
    assert all(value == 0 for name, value in one.items() if name not in told)


def test_a_rare_word_without_a_partner_weighs_more_than_a_common_one() -> None:
    common = of("best way to peel an onion", "good way to peel an onion")
    rare = of("best way to peel an onion", "best way to peel an aubergine")
    assert rare["rarest"] > common["rarest"] > 0


def test_each_kind_of_difference_shows_in_its_own_feature() -> None:
    plain = "Send 3 kg from Oslo to Bergen on Monday"
    assert of(plain, plain.replace("3", "4"))["numbers_both"] == 1
    assert of(plain, plain.replace("3 kg ", ""))["numbers_one"] == 1
    assert of(plain, plain.replace("kg", "tons"))["units"] == 1
    assert of(plain, plain.replace("Monday", "Friday"))["times_both"] == 1
    assert of(plain, "Don't " + plain)["turned"] == 1
    assert of(plain, "Send 3 kg from Bergen to Oslo on Monday")["moved"] == 1
    assert of(plain, plain.replace("Oslo", "Rome"))["names_both"] == 1
