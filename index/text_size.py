"""Upper bound on the word pieces of a text, for a model whose tokenizer is not at hand.

Rule: a piece has at least one byte of UTF-8, of the text as the tokenizer normalises it. That can
make many characters of one: U+FDFA has 3 bytes, and 33 in NFKC.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache


def most_pieces(text: str) -> int:
    """Return the bytes of the text in the form that has most, whatever the case.

    Some tokenizers put a space first, and all have pieces of their own around: those are not in it.
    """
    return len(text) if text.isascii() else sum(map(_most_pieces, text))


@lru_cache(16_384)
def _most_pieces(char: str) -> int:
    most = 0
    for form in ("NFC", "NFKC", "NFD", "NFKD"):
        normal = unicodedata.normalize(form, char)
        for cased in (char, char.lower(), char.casefold(), normal.lower(), normal.casefold()):
            made = unicodedata.normalize(form, cased)
            # Pieces of bytes come with composed forms (SentencePiece, BPE). Who decomposes (BERT,
            # ALBERT) has pieces of characters; by bytes a Hangul syllable would count three times.
            composed = form in ("NFC", "NFKC")
            size = len(made.encode("utf-8", "surrogatepass")) if composed else len(made)
            most = max(most, size)
    return max(most, len(char.encode("utf-8", "surrogatepass")))
