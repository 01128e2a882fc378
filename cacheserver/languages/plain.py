"""Comparison of two questions in a language whose words no rule reads.

What needs no word list is compared as in English: numbers, units, quoted text, signs, capitals and
marks. Beyond that the rules look at where two texts differ. Near misses differ in one place or in
the order alone, paraphrases in several places; so what differs in one place is not compared: the
words there may deny, count or name, and no rule reads them. In scripts without spaces a word is
one character. Symmetric. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from cacheserver.english.lexicon import Lexicon
from cacheserver.english.vetoes_wording import WORDING
from cacheserver.languages.detection import UNSPACED
from cacheserver.languages.units import UNITS
from cacheserver.matching.language import ALL_VETOES
from cacheserver.matching.profile import Difference, Profile

_PART = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d]+|[^\w\s]+")
_GROUPED = re.compile(r"\d{1,3}(?:\.\d{3}){2,}|\d{1,3}(?:,\d{3}){2,}")
_AMBIGUOUS = re.compile(r"\d{1,3}[.,]\d{3}")
_GLUE = re.compile(r"[.,](?=\d{3})")
# Words that differ in one place: more are another way to say it.
_MOST_REPLACED, _MOST_REPLACED_CHARS = 3, 6
_MARKED = 2  # words that may differ where a mark tells two of them apart
_LEAST_SHARED = 2  # words around such a place
_SIGNS = ("sign", "case", "focus")  # rules of `vetoes_wording` that read no English


def read_profile(read: Profile, label: str) -> Profile:
    """Return the profile of a text in another language.

    `read` is its profile by the rules of English, of which the canonical words are used: those of
    a text that is not English are its words as written.
    """
    unspaced = label in UNSPACED
    words: list[str] = []
    numbers: list[str] = []
    quantities: set[tuple[str, str]] = set()
    previous = ""
    for part in (p for word in read.form for p in _PART.findall(word)):
        low = part.lower()
        if part[0].isdigit():
            previous = _number(part)
            numbers.append(previous)
            words.append(previous)
            continue
        if previous and (unit := UNITS.get(low) or _leading_unit(low)):
            quantities.add((previous, unit))
        previous = ""
        if low[0].isalnum() or low[0] == "_":
            words.extend(low if unspaced and not low.isascii() else (low,))
    joined = " ".join(words)
    return replace(
        read,
        every=frozenset(words),
        content=tuple(words),
        bag=frozenset(words),
        numbers=frozenset(numbers),
        quantities=frozenset(quantities),
        units=frozenset(unit for _, unit in quantities),
        times=frozenset(),
        names=frozenset(w for w in words if any(map(str.isdigit, w)) and not w.isdigit()),
        flows=frozenset(),
        pronouns=(),
        negations=0,
        passive=False,
        asks="",
        grams=frozenset([joined[i : i + 3] for i in range(len(joined) - 2)]),
        length=len(words),
        language=label,
    )


def compare(a: Profile, b: Profile, lexicon: Lexicon) -> Difference | None:
    """Compare two profiles that `read_profile` returned.

    None if they differ in one place, and nothing that a rule reads is different there.
    """
    difference = _difference(a, b)
    unread = _differ_in_one_place(a.content, b.content, unspaced=a.language in UNSPACED)
    return None if unread and not fired(difference, ALL_VETOES, lexicon) else difference


def _difference(a: Profile, b: Profile) -> Difference:
    form_a, form_b = frozenset(a.form), frozenset(b.form)
    return Difference(
        a=a,
        b=b,
        only_a=tuple([w for w in dict.fromkeys(a.content) if w not in b.bag]),
        only_b=tuple([w for w in dict.fromkeys(b.content) if w not in a.bag]),
        shared=len(a.bag & b.bag),
        flips=0,
        misdirected=False,
        misordered=_reordered(a.content, b.content),
        apart_a=tuple([word for word in a.form if word not in form_b]),
        apart_b=tuple([word for word in b.form if word not in form_a]),
    )


def are_twins(d: Difference) -> bool:
    """Return True if two texts differ in the last question mark or the first word's case alone."""
    return bool(d.a.form) and d.a.spans == d.b.spans and d.a.form == d.b.form


def fired(d: Difference, enabled: frozenset[str], lexicon: Lexicon) -> tuple[str, ...]:
    """Return the enabled vetoes that fire, in the order of `language.VETO_NAMES`."""
    if are_twins(d):
        return ()
    found = []
    if d.a.numbers - d.b.numbers and d.b.numbers - d.a.numbers:
        found.append("numeric")
    if _other_unit(d.a, d.b):
        found.append("unit")
    if d.misordered:  # the same words in another order: who does it to whom, from where to where
        found.append("direction")
    if d.a.spans - d.b.spans and d.b.spans - d.a.spans:
        found.append("span")
    found += [name for name in _SIGNS if WORDING[name](d, lexicon)]
    if max(len(d.only_a), len(d.only_b)) <= _MARKED and WORDING["marks"](d, lexicon):
        found.append("marks")  # texts in other words have such pairs by chance
    return tuple([name for name in found if name in enabled])


def _number(digits: str) -> str:
    """Return a number without the marks between thousands, its decimals after a point.

    One group of three may be thousands or decimals, by the language: such a number is left as
    written, and equals no other.
    """
    if _AMBIGUOUS.fullmatch(digits):
        return digits
    if _GROUPED.fullmatch(digits):
        return _GLUE.sub("", digits)
    return digits.replace(",", ".")


def _leading_unit(word: str) -> str | None:
    """Return the unit that a run of characters without spaces begins with."""
    if word.isascii():
        return None
    return next((UNITS[word[:end]] for end in (4, 3, 2, 1) if word[:end] in UNITS), None)


def _other_unit(a: Profile, b: Profile) -> bool:
    """Return True if a number of both has units on both sides, and none in common."""
    return any(
        one.isdisjoint(other)
        for value in {v for v, _ in a.quantities} & {v for v, _ in b.quantities}
        for one, other in (
            (
                {u for v, u in a.quantities if v == value},
                {u for v, u in b.quantities if v == value},
            ),
        )
    )


def _reordered(one: Sequence[str], other: Sequence[str]) -> bool:
    return one != other and sorted(one) == sorted(other)


def _differ_in_one_place(one: Sequence[str], other: Sequence[str], *, unspaced: bool) -> bool:
    """Return True if the texts differ in one place, by a few words on either side or on one."""
    short = min(len(one), len(other))
    start = 0
    while start < short and one[start] == other[start]:
        start += 1
    end = 0
    while end < short - start and one[-1 - end] == other[-1 - end]:
        end += 1
    most = _MOST_REPLACED_CHARS if unspaced else _MOST_REPLACED
    longest = max(len(one), len(other)) - start - end
    return 0 < longest <= most and start + end >= _LEAST_SHARED
