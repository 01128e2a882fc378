"""The bound on word pieces, against a tokenizer that makes a piece of every byte."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from cacheserver.index.text_size import most_pieces

NORMALIZERS = {
    "none": normalizers.Sequence([]),
    "nfc": normalizers.NFC(),
    "nfkc": normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
}
GROWING = "".join(
    char for char in map(chr, range(0x80, 0xFFFE)) if len(unicodedata.normalize("NFKC", char)) > 3
)
texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(GROWING), max_size=30)


def of_bytes(normalizer: normalizers.Normalizer) -> Tokenizer:
    """Return a tokenizer without any word: each byte is a piece, after a space as E5 puts it."""
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="_", prepend_scheme="never")
    return made


@pytest.mark.parametrize("form", NORMALIZERS)
def test_no_text_has_more_pieces_than_the_bound(form: str) -> None:
    tokenizer = of_bytes(NORMALIZERS[form])

    @settings(max_examples=40, deadline=None)
    @given(texts)
    @example("\ufdfa" * 5)
    @example("\u331a 한국어 İ")
    def holds(text: str) -> None:
        assert len(tokenizer.encode(text).ids) <= most_pieces(text)

    holds()


def test_the_bound_is_the_bytes_of_most_texts() -> None:
    for text in ("What is new?", "Wie ändere ich das?", "한국어", "パスワード", "कितने"):
        assert most_pieces(text) == len(text.encode())
    assert most_pieces("\ufdfa") == 33
