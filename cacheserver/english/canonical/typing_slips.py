"""Typing slips: small edits of a common word that are not words themselves.

"reqest" is a slip of "request"; "debit" and "debt" are two words, and so are "prostate" and
"prostrate". Dictionary words that are one edit from a common word are listed in
`spelling_near.txt`, and are no slips. English. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from cacheserver.core import data_files

_MOST = 2  # slips in one question
_VOWELS = "aeiou"


def only_misspelt(a: Sequence[str], b: Sequence[str]) -> bool:
    """Return True if two sequences of words differ only by slips."""
    if len(a) != len(b):
        return False
    apart = [(one, other) for one, other in zip(a, b, strict=True) if one != other]
    return len(apart) <= _MOST and all(misspelt(one, other) for one, other in apart)


def misspelt(one: str, other: str) -> bool:
    """Return True if one of the two is a common word and the other a slip of it."""
    if abs(len(one) - len(other)) > 1 or one[0] != other[0] or one[-1] != other[-1]:
        return False
    common = _common()
    if (one in common) == (other in common):
        return False
    word, slip = (one, other) if one in common else (other, one)
    return slip not in _words() and slip in slips(word)


@lru_cache(maxsize=1_024)
def slips(word: str) -> frozenset[str]:
    """Return all slips of `word`.

    A slip drops or doubles one inner letter, exchanges two neighbours, or replaces a vowel by a
    vowel. The first and last letter stay: another ending makes another word.
    """
    return frozenset(_slips(word)) - {word}


def _slips(word: str) -> Iterator[str]:
    for at in range(1, len(word) - 1):
        head, letter, tail = word[:at], word[at], word[at + 1 :]
        yield head + tail
        yield head + letter + letter + tail
        if at < len(word) - 2:
            yield head + tail[0] + letter + tail[1:]
        if letter in _VOWELS:
            yield from (head + vowel + tail for vowel in _VOWELS)


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    return frozenset(data_files.text("cacheserver.english", "spelling_common.txt").split())


@lru_cache(maxsize=1)
def _words() -> frozenset[str]:
    return frozenset(data_files.text("cacheserver.english", "spelling_near.txt").split())
