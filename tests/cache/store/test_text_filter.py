"""The first look for a text misses none, whatever stands beside it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.store.text_filter import mentioning
from cacheserver.core import json_text
from cacheserver.storage.sealer import MARK

PARTS = (
    "straße",
    "STRASSE",
    'say "yes"',
    "\n",
    "a\\b",
    "\u212a",
    "\u017f",
    "\ud800",
    "ΟΔΟΣ",
    "plain",
    "",
)
texts = st.lists(st.sampled_from(PARTS), max_size=3).map("".join)


def stored(text: str, kind: str) -> bytes:
    match kind:
        case "sealed":
            return MARK + b"\x00\x01"
        case "escaped":
            return json.dumps([text]).encode()
    return json_text.dumps([text])


@given(
    st.lists(
        st.tuples(texts, st.sampled_from(["plain", "plain", "sealed", "escaped"])), max_size=8
    ),
    st.sampled_from([part for part in PARTS if part]),
    st.integers(0, 120),
)
def test_what_has_the_text_is_found(
    values: list[tuple[str, str]], wanted: str, before: int
) -> None:
    """`before`: so many others, so that it lies in another part."""
    stored_values = [b'["other"]'] * before + [stored(*one) for one in values]
    found = mentioning(stored_values, wanted)
    assert found == sorted(set(found))
    for place, (text, kind) in enumerate(values, before):
        if kind == "sealed" or wanted.casefold() in text.casefold():
            assert place in found


def test_plain_texts_without_it_are_left_out() -> None:
    values = [json_text.dumps([text]) for text in ("Reset it", "the RESET", "other")] * 90
    assert mentioning(values, "reset") == [at for at in range(270) if at % 3 != 2]
    assert mentioning(values, "it,t") == []  # not across two of them
