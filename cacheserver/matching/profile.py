"""Profile of a question, and the difference between two: the values that word rules work on.

A `Language` makes both.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """Profile of one text. Words are lower-case stems; synonyms are one word."""

    every: frozenset[str]  # all words
    content: tuple[str, ...]  # meaning words in order, numbers and units included
    bag: frozenset[str]  # `content` as a set
    numbers: frozenset[str]  # "400", "15:00", "3.10"
    quantities: frozenset[tuple[str, str]]  # numbers with a unit: ("400", "mg")
    units: frozenset[str]
    times: frozenset[str]  # months, weekdays, parts of the day, "today"
    names: frozenset[str]  # capitalised inside a sentence, or letters mixed with digits
    spans: frozenset[str]  # quoted text, code, flags, paths, file names, operators
    flows: frozenset[tuple[str, str]]  # (preposition, the meaning word after it)
    pronouns: tuple[str, ...]
    negations: int
    passive: bool
    asks: str  # the first question word, "" if none
    grams: frozenset[str]  # character trigrams of the meaning words
    length: int  # words
    form: tuple[str, ...]  # the canonical words, function words and signs included
    recognised: bool  # in the language whose word rules read the text
    language: str = ""  # label of the language, as far as it is known


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference between the profiles of two questions."""

    a: Profile
    b: Profile
    only_a: tuple[str, ...]  # meaning words of a that b lacks; slips matched, synonyms one word
    only_b: tuple[str, ...]
    shared: int  # meaning words in both
    flips: int  # pairs of antonyms, one on each side
    misdirected: bool  # "to", "than", "before"... stand before exchanged words
    misordered: bool  # the same words in another order, and no word makes the order free
    apart_a: tuple[str, ...]  # canonical words and signs of a that b lacks, as written
    apart_b: tuple[str, ...]
