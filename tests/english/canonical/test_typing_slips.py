"""Words typed wrongly, and words that only look so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core import data_files
from cacheserver.english.canonical.typing_slips import misspelt, only_misspelt, slips

COMMON = data_files.text("cacheserver.english", "spelling_common.txt").split()
NEAR = data_files.text("cacheserver.english", "spelling_near.txt").split()
WORDS = st.sampled_from((*COMMON[::50], *NEAR[::50], "reqest", "zzz"))


@pytest.mark.parametrize(
    "pair",
    [
        "reqest request",
        "perscription prescription",
        "recieve receive",
        "adress address",
        "seperate separate",
        "passowrd password",
        "delivry delivery",
    ],
)
def test_a_slip_is_a_small_edit_that_makes_no_word(pair: str) -> None:
    one, other = pair.split()
    assert misspelt(one, other)


@pytest.mark.parametrize(
    "pair",
    [
        "debit debt",
        "prostate prostrate",
        "nitrate nitrite",
        "united untied",
        "stationary stationery",
        "cavalry calvary",
        "voucher vouchers",
        "damage damages",
        "silicon silicone",
        "flicker flickr",
        "Austria Australia",
        "password passphrase",
        "request request",
        "reqest reqests",
    ],
)
def test_two_words_are_no_slip(pair: str) -> None:
    one, other = pair.split()
    assert not misspelt(one, other)


@given(WORDS, WORDS)
def test_which_one_is_typed_wrongly_does_not_matter(one: str, other: str) -> None:
    assert misspelt(one, other) == misspelt(other, one)


@given(st.sampled_from(COMMON))
def test_no_common_word_and_no_listed_one_is_a_slip_of_another(word: str) -> None:
    known = frozenset(NEAR) | frozenset(COMMON)
    assert not any(misspelt(word, slip) for slip in slips(word) & known)
    assert word not in slips(word)


def test_two_words_may_be_typed_wrongly_and_no_more() -> None:
    said = ["reqest", "a", "repeat", "perscription"]
    meant = ["request", "a", "repeat", "prescription"]
    assert only_misspelt(said, meant)
    assert not only_misspelt([*said, "adress"], [*meant, "address"])
    assert not only_misspelt(said, meant[:-1])
