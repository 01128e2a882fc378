from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.store.codec import (
    pack_entry,
    pack_vectors,
    unpack_entry,
    unpack_vectors,
    vector_row,
)
from cacheserver.core.errors import StoreError
from cacheserver.core.types import FIRST_EMBEDDER, Entry, Usage
from tests.cache.entries import entry

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
tokens = st.integers(0, 2**53)
flat_usage = st.builds(
    Usage, *[tokens] * 6, service_tier=text, speed=text, inference_geo=text, iterations=st.just(())
)
usage = st.builds(
    Usage,
    *[tokens] * 6,
    service_tier=text,
    speed=text,
    inference_geo=text,
    iterations=st.lists(st.tuples(text, flat_usage), max_size=3).map(tuple),
)
moments = st.floats(0, 4e9)
entries = st.builds(
    Entry,
    id=st.text("0123456789abcdef", min_size=32, max_size=32),
    tenant=text,
    namespace=text,
    fingerprint=text,
    scope=text,
    text=st.none() | text,
    model=text,
    message=st.binary(max_size=200),
    usage=usage,
    cost=st.none() | st.integers(0, 2**62),
    tags=st.lists(text, max_size=4).map(tuple),
    created_at=moments,
    expires_at=moments,
    actor=st.none() | text,
    made_up=st.booleans(),
    conversation=st.none() | text,
    curated_by=st.none() | text,
)


def unpacked(value: bytes) -> bytes:
    """The value as it was stored before answers were compressed."""
    is_frame = value.startswith(zstandard.FRAME_HEADER, 33)
    return value[:33] + zstandard.decompress(value[33:]) if is_frame else value


def test_a_long_answer_is_packed_and_one_stored_unpacked_is_read() -> None:
    one = entry(message=b'{"text": "All that you ask is on the page."}' * 20)
    value = pack_entry(one)
    whole = unpacked(value)
    assert len(value) < 0.5 * len(whole)
    assert unpack_entry(whole) == one


@given(entries)
def test_an_entry_comes_back_as_it_was_stored(one: Entry) -> None:
    assert unpack_entry(pack_entry(one)) == one


@given(entries, st.sampled_from([11, 13, 14]))
def test_an_entry_of_an_earlier_version_has_none_of_what_came_later(
    one: Entry, fields: int
) -> None:
    value = unpacked(pack_entry(one))
    length = int.from_bytes(value[33:37], "big")
    header = orjson.dumps(orjson.loads(value[37 : 37 + length])[:fields])
    older = value[:33] + len(header).to_bytes(4, "big") + header + value[37 + length :]
    later: dict[str, Any] = {"curated_by": None}
    if fields < 14:
        later["conversation"] = None
    if fields == 11:
        later |= {"actor": None, "made_up": False}
    assert unpack_entry(older) == replace(one, **later)


@given(entries, st.dictionaries(st.text(max_size=9), st.binary(max_size=100), max_size=3))
def test_vectors_come_back_as_they_were_stored(one: Entry, vectors: dict[str, bytes]) -> None:
    row = vector_row(one, vectors)
    assert unpack_vectors(pack_vectors(row)) == row


@given(entries, st.binary(max_size=100))
def test_a_vector_that_names_no_embedder_is_of_the_first(one: Entry, vector: bytes) -> None:
    header = orjson.dumps([one.fingerprint, one.scope, one.tenant, one.expires_at])
    value = b"\x01" + one.id.encode() + len(header).to_bytes(4, "big") + header + vector
    assert unpack_vectors(value) == vector_row(one, {FIRST_EMBEDDER: vector})


@given(entries, st.data())
def test_a_value_cut_inside_its_header_is_absent(one: Entry, data: st.DataObject) -> None:
    value = pack_entry(one)
    cut = data.draw(st.integers(0, len(value) - len(one.message) - 1))
    assert unpack_entry(value[:cut]) is None
    assert unpack_vectors(value[:cut]) is None


@given(st.integers(0, 255).filter(lambda version: version != 1))
def test_a_value_of_another_version_is_absent(version: int) -> None:
    one = entry()
    assert unpack_entry(bytes([version]) + pack_entry(one)[1:]) is None
    assert unpack_vectors(bytes([version]) + pack_vectors(vector_row(one, {"e": b"v"}))[1:]) is None


@given(st.binary(max_size=100))
def test_bytes_nobody_wrote_never_raise(value: bytes) -> None:
    assert unpack_entry(value) is None
    assert unpack_vectors(value) is None


def test_what_json_cannot_hold_is_refused_without_its_words() -> None:
    with pytest.raises(StoreError) as caught:
        pack_entry(entry(text="a secret \ud800"))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_id_of_another_length_is_refused() -> None:
    with pytest.raises(StoreError):
        pack_entry(entry(id="short"))
