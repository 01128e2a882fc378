"""The language of a text, as far as word rules need it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.languages import detection
from cacheserver.languages.rules import languages
from scripts.pairs.own import language_pairs, own_pairs

LANGUAGES = languages()
LABELS = {
    "ar": "Arab",
    "de": "Latn-de",
    "es": "Latn-es",
    "hi": "Deva",
    "ja": "Jpan",
    "ko": "Hang",
    "ru": "Cyrl",
    "zh": "Hani",
}


def label(text: str) -> str:
    return LANGUAGES.profile(text).language


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How do I reset my password?", detection.ENGLISH),
        ("What does 東京 mean?", detection.ENGLISH),
        ("zip repair coat", detection.LATIN),
        ("café near me", detection.LATIN),
        ("2 + 2 = ?", detection.SIGNS),
        ("Wie kündige ich meinen Vertrag?", "Latn-de"),
        ("¿Dónde está mi factura?", "Latn-es"),
        ("Où se trouve ma facture?", "Latn-fr"),
        ("Onde fica a minha fatura?", "Latn-pt"),
        ("Quanto costa il biglietto?", "Latn-it"),
        ("Hoe wijzig ik mijn wachtwoord?", "Latn-nl"),
        ("Wie lautet meine Adresse?", "Latn-de"),
        ("iPhoneからAndroidに連絡先を移す方法は?", "Jpan"),
        ("git怎么撤销最近一次提交?", "Hani"),
        ("Як змінити пароль?", "Cyrl-uk"),
        ("Как сменить пароль?", "Cyrl"),
        ("چگونه رمز را عوض کنم؟", "Arab-fa"),
        ("ต้องการไก่", "Thai"),
    ],
)
def test_labels(text: str, expected: str) -> None:
    assert label(text) == expected


@pytest.mark.parametrize("code", LABELS)
def test_our_pairs_are_hardly_ever_taken_for_another_language(code: str) -> None:
    texts = [text for a, b, *_ in language_pairs()[code] for text in (a, b)]
    other = [t for t in texts if not detection.comparable(label(t), LABELS[code])]
    english = [t for t in texts if label(t) == detection.ENGLISH]
    assert english == []
    assert len(other) <= 0.015 * len(texts), other


def test_english_is_hardly_ever_taken_for_another_language() -> None:
    found = [(a, b) for a, b, _, kind in own_pairs() if kind not in ("accent", "language")]
    texts = [text for pair in found for text in pair if text.isascii()]
    foreign = [text for text in texts if not detection.reads_english(label(text))]
    assert len(foreign) <= 0.015 * len(texts), foreign


@given(st.sampled_from(["", "Latn", "Latn-en", "Latn-other", "Latn-de", "Cyrl", "Cyrl-uk"]))
def test_a_language_is_comparable_with_itself(one: str) -> None:
    assert detection.comparable(one, one)


@given(
    *[st.sampled_from(["", "Latn", "Latn-en", "Latn-other", "Latn-de", "Latn-es", "Cyrl", "Jpan"])]
    * 2
)
def test_comparable_is_symmetric(one: str, other: str) -> None:
    assert detection.comparable(one, other) == detection.comparable(other, one)


@given(st.text(max_size=60), st.booleans())
def test_any_text_has_a_label(text: str, english: bool) -> None:
    found = detection.detect(text, english=english)
    assert detection.reads_english(found) or len(found) >= 4
