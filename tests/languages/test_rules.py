"""Questions in other languages: what refuses a pair, and that no rule of English is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.english.language import english
from cacheserver.languages.rules import languages
from cacheserver.matching.language import ALL_VETOES, UNREADABLE, VETO_NAMES, vetoes_between
from cacheserver.matching.question_text import matched_text
from scripts.pairs.own import language_pairs, own_pairs

LANGUAGES = languages()


def vetoes(one: str, other: str) -> tuple[str, ...]:
    texts = [matched_text(text, LANGUAGES)[0] for text in (one, other)]
    a, b = (LANGUAGES.profile(text or "") for text in texts)
    return vetoes_between(a, b, ALL_VETOES, LANGUAGES)


def twins(one: str, other: str) -> bool:
    texts = [matched_text(text, LANGUAGES)[0] for text in (one, other)]
    difference = LANGUAGES.compare(*(LANGUAGES.profile(text or "") for text in texts))
    return difference is not None and LANGUAGES.are_twins(difference)


@pytest.mark.parametrize(
    ("one", "other", "veto"),
    [
        ("Darf ich 400 mg am Tag nehmen?", "Darf ich 800 mg am Tag nehmen?", "numeric"),
        ("¿Cuánto pesan 5 kg de arena?", "¿Cuánto pesan 5 lb de arena?", "unit"),
        ("5公斤行李超重要付多少钱呢", "5斤行李超重的话需要付多少", "unit"),
        ("Можно ли вернуть товар?", "Можно ли обменять товар?", UNREADABLE),
        ("我可以退款吗?", "我不可以退款吗?", UNREADABLE),
        ("从安卓换到苹果", "从苹果换到安卓", "direction"),
        ("Darf ein Hund einen Mann beißen?", "Darf einen Hund ein Mann beißen?", "direction"),
        ('Was heißt "mood" auf Deutsch?', 'Was heißt "mode" auf Deutsch?', "span"),
        ("मेरा कम कहाँ है?", "मेरा काम कहाँ है?", "marks"),
        ("Was ist x > y in dem Satz?", "Was ist x < y in dem Satz?", "sign"),
        ("How do I cancel it?", "¿Cómo lo cancelo yo?", UNREADABLE),
        ("Comment puis-je annuler ma commande?", "Como cancelo o meu pedido?", UNREADABLE),
        ("東京から大阪までいくらですか", "东京到大阪多少钱", UNREADABLE),
    ],
)  # fmt: skip
def test_what_needs_no_word_list_still_refuses(one: str, other: str, veto: str) -> None:
    assert veto in vetoes(one, other)
    assert veto in vetoes(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("٣ كتب بكم؟", "3 كتب بكم؟"),
        ("मुझे ५ किलो चाहिए", "मुझे 5 किलो चाहिए"),
        ("５個でいくらですか", "5個でいくらですか"),
        ("Что такое атом?", "что такое атом"),
    ],
)
def test_digits_of_every_script_are_numbers(one: str, other: str) -> None:
    assert twins(one, other)
    assert vetoes(one, other) == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.500.000 Euro sind wie viel?", "1500000 Euro sind wie viel?"),
        ("Wie viel sind 3,5 kg?", "Wie viel sind 3.5 kg?"),
    ],
)
def test_marks_within_numbers_are_read_as_the_language_writes_them(one: str, other: str) -> None:
    assert "numeric" not in vetoes(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ist 1,599 Euro pro Liter teuer?", "Ist 1599 Euro pro Liter teuer?"),
        ("Sind 1.500 Euro zu viel?", "Sind 1,500 Euro zu viel?"),
        ("El litro cuesta 1,599?", "El litro cuesta 1599?"),
    ],
)
def test_a_group_of_three_may_be_decimals_so_it_makes_no_twins(one: str, other: str) -> None:
    assert not twins(one, other)


def test_words_that_english_calls_opposites_do_not_refuse_another_language() -> None:
    # "die" and "war" are words of English, and "war" an antonym of "peace".
    pair = ("Wo war die Feier gestern?", "An welchem Ort hat man denn die Party gefeiert?")
    assert vetoes(*pair) == ()


@pytest.mark.parametrize("code", list(language_pairs()))
def test_no_near_miss_is_a_twin(code: str) -> None:
    rows = language_pairs()[code]
    assert [(a, b) for a, b, expected, _ in rows if expected == "miss" and twins(a, b)] == []


@pytest.mark.parametrize("code", list(language_pairs()))
def test_pairs_are_two_hundred_of_different_texts(code: str) -> None:
    rows = language_pairs()[code]
    texts = [text for a, b, *_ in rows for text in (a, b)]
    assert len(set(texts)) == len(texts) == 400
    assert sorted(expected for _, _, expected, _ in rows) == ["miss"] * 100 + ["paraphrase"] * 100


def test_pairs_of_english_are_compared_by_its_rules_alone() -> None:
    """A short keyword query stays with the rules of English: they only refuse."""
    rules, found = english(), 0
    for a, b, _, _kind in own_pairs():
        texts = [matched_text(text, LANGUAGES)[0] for text in (a, b)]
        if not all(text and text.isascii() for text in texts):
            continue
        profiles = [rules.profile(text or "") for text in texts]
        expected = rules.vetoes(rules.compare(*profiles), ALL_VETOES)
        if vetoes(a, b) != expected:
            found += 1
    assert found <= 4  # lines of another language in ASCII


WORDS = (
    "der",
    "die",
    "nicht",
    "Vertrag",
    "5",
    "kg",
    "mg",
    "7",
    "ich",
    "по",
    "где",
    "退",
    "款",
    "का",
)
words = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)


@given(words, words)
def test_comparing_is_symmetric(one: str, other: str) -> None:
    a, b = LANGUAGES.profile(one), LANGUAGES.profile(other)
    first = vetoes_between(a, b, ALL_VETOES, LANGUAGES)
    assert set(first) == set(vetoes_between(b, a, ALL_VETOES, LANGUAGES))
    assert set(first) <= {*VETO_NAMES, UNREADABLE}
    assert vetoes_between(a, a, ALL_VETOES, LANGUAGES) == ()
