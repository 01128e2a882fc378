"""Combining marks: accents, vowel signs, everything that an uncased tokenizer removes. Pure."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_MARKED = "\N{MODIFIER LETTER SMALL CAPITAL INVERTED R}"  # a letter; around a mark's code point
_MARK = re.compile(f"{_MARKED}[a-p]+{_MARKED}")


def spell_marks(text: str) -> str:
    """Return `text` with each combining mark spelled in letters, so that words keep their marks.

    Python's `\\w` matches no marks: without this a Hindi word is split at its vowel signs.
    """
    return text if text.isascii() else "".join(map(_spelled, text))


def bare(word: str) -> str:
    """Remove the marks from a word that `spell_marks` has encoded."""
    if word.isascii():
        return word
    apart = unicodedata.normalize("NFD", _MARK.sub("", word))
    return "".join(char for char in apart if unicodedata.category(char) != "Mn")


@lru_cache(maxsize=4_096)
def _spelled(char: str) -> str:
    if char < "\x80" or unicodedata.category(char)[0] != "M":
        return char
    return _MARKED + "".join(chr(ord("a") + int(digit, 16)) for digit in f"{ord(char):x}") + _MARKED
