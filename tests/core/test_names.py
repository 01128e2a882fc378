"""Names: one form, and no character that nobody sees."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core import names
from cacheserver.core.errors import BadRequest

# Default_Ignorable_Code_Point (Unicode 15), a sample of each block, and what shows nothing else.
UNSEEN = [
    *("\u00ad", "\u034f", "\u061c", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u180b", "\u180e"),
    *("\u180f", "\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u202a", "\u202e", "\u2060"),
    *("\u2063", "\u2066", "\u2069", "\u206f", "\u3164", "\ufe00", "\ufe0f", "\ufeff", "\uffa0"),
    *("\U0001bca0", "\U0001d173", "\U000e0001", "\U000e0061", "\U000e0100", "\U000e01ef"),
    *("\u2800", "\ufffc", "\ufffd", "\ue000", "\ud800", "\u00a0", "\u2003", "\u3000", "\u2028"),
    *("\x00", "\t", "\n", "\x1b", "\x7f", "\x85"),
]


@pytest.mark.parametrize("char", UNSEEN)
@pytest.mark.parametrize("place", ["{}", "{}ann", "an{}n", "ann{}"])
def test_a_character_that_nobody_sees_is_refused_wherever_it_stands(char: str, place: str) -> None:
    with pytest.raises(BadRequest) as refused:
        names.read("label", place.format(char), most=100)
    assert refused.value.field == "label"
    assert char not in str(refused.value).replace("\n", "") or char == "\n"


@pytest.mark.parametrize(
    ("given", "read"),
    [("ann", "ann"), (" a b ", "a b"), ("Zoe\u0308", "Zo\u00eb"), ("\u65e5\u672c", "\u65e5\u672c")],
)
def test_a_name_has_one_form(given: str, read: str) -> None:
    assert names.read("actor", given, most=100) == read


@given(st.text(max_size=12))
def test_what_is_read_is_normal_seen_and_stays_as_it_is(text: str) -> None:
    try:
        name = names.read("actor", text, most=10)
    except BadRequest:
        return
    assert name == unicodedata.normalize("NFC", name).strip()
    assert not {unicodedata.category(char) for char in name} & {"Cc", "Cf", "Cs", "Co", "Cn"}
    assert names.read("actor", name, most=10) == name
    assert 1 <= len(name) <= 10
