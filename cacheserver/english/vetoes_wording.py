"""Vetoes on what an embedder hardly sees: function words, signs, case, marks and word order.

They separate questions with the same meaning words: "from Canada", "to Canada". Each fires only if
no meaning word differs (`close`), so paraphrases in other words pass. They read the canonical
words (`english.canonical.forms`), in which frames and contractions are already unified.
Symmetric. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

from cacheserver.english import vetoes_words
from cacheserver.english.lexicon import Lexicon
from cacheserver.matching.marks import bare
from cacheserver.matching.profile import Difference, Profile

# Only between two questions that are `close`; `vetoes.fired` asks for that once.
OF_CLOSE = frozenset(("preposition", "quantifier", "modal", "tense", "person", "pointer", "asked"))


def close(d: Difference) -> bool:
    """Return True if no meaning word differs, and little else: other constructions pass."""
    return len(d.apart_a) + len(d.apart_b) <= vetoes_words.FEW and _agree(d)


def _preposition(d: Difference, lexicon: Lexicon) -> bool:
    """ "Do you ship from Canada?", "... to Canada?": each has one that the other lacks."""
    if not close(d):
        return False
    one, other = _apart(d, vetoes_words.PREPOSITIONS)
    return bool(one and other) and not any(
        one | other <= alike for alike in vetoes_words.ALIKE_PREPOSITIONS
    )


def _quantifier(d: Difference, lexicon: Lexicon) -> bool:
    """ "only", "all", "every other", "a few" on one side; "any" or "just" may come alone."""
    if not close(d):
        return False
    if not vetoes_words.DECIDING.isdisjoint((*d.apart_a, *d.apart_b)):
        return True
    one, other = _apart(d, vetoes_words.QUANTIFIERS)
    alone = not one or not other
    return bool((one | other) - (vetoes_words.SOFT if alone else frozenset()))


def _modal(d: Difference, lexicon: Lexicon) -> bool:
    """ "Can I leave?", "Must I leave?"."""
    if not close(d):
        return False
    one, other = _apart(d, vetoes_words.MODALS)
    return bool(one and other) and one | other != vetoes_words.ABLE


def _tense(d: Difference, lexicon: Lexicon) -> bool:
    """ "Who is the owner?", "Who was the owner?"."""
    if not close(d):
        return False
    one, other = set(d.apart_a), set(d.apart_b)
    return _tenses(one, other) or _tenses(other, one)


def _person(d: Difference, lexicon: Lexicon) -> bool:
    """ "my order", "your order"; "how do you" and "how do I" are one."""
    if not close(d):
        return False
    apart = [
        {vetoes_words.PERSONS[w] for w in side if w in vetoes_words.PERSONS}
        for side in (d.apart_a, d.apart_b)
    ]
    one, other = (
        [vetoes_words.PERSONS[w] for w in p.form if w in vetoes_words.PERSONS] for p in (d.a, d.b)
    )
    if any(apart) and len(one) > 1 and one != other and sorted(one) == sorted(other):
        return True  # "How do you pay me?", "How do I pay you?"
    persons = [w for p in (d.a, d.b) for w in p.form if w in vetoes_words.PERSONS]
    frame = len(persons) == 2 and vetoes_words.ANYBODY.issuperset(persons)
    return all(apart) and not (frame and {d.a.form[0], d.b.form[0]} <= vetoes_words.WH)


def _pointer(d: Difference, lexicon: Lexicon) -> bool:
    """ "this invoice", "that invoice"."""
    return close(d) and _both_apart(d, vetoes_words.POINTERS)


def _asked(d: Difference, lexicon: Lexicon) -> bool:
    """ "Where do I send it?", "When do I send it?"."""
    one, other = d.a.asks, d.b.asks
    if (
        one == other
        or one not in vetoes_words.ASKED
        or other not in vetoes_words.ASKED
        or not close(d)
    ):
        return False
    return not any({one, other} <= alike for alike in vetoes_words.ALIKE)


def _sign(d: Difference, lexicon: Lexicon) -> bool:
    """ "-10", "10"; "?.", "??"; "x > y", "x < y"."""
    if len(d.only_a) > 1 or len(d.only_b) > 1:
        return False
    one, other = ([w for w in side if _is_sign(w)] for side in (d.apart_a, d.apart_b))
    if one and other:
        apart = _bare_signs(one) != _bare_signs(other)
        return apart and not vetoes_words.DASHES.issuperset((*one, *other))
    ends = {*d.a.form[-1:], *d.b.form[-1:]}  # "How do I do it ??"
    return any(
        _tells(w) and not (w in ends and vetoes_words.STOPS.issuperset(w.strip(vetoes_words.SPACE)))
        for w in (*one, *other)
    )


def _case(d: Difference, lexicon: Lexicon) -> bool:
    """ "US", "us"; "5 mW", "5 MW"; "Co", "CO". "delhi" and "Delhi" are one."""
    if not d.apart_a or not d.apart_b or not _agree(d):
        return False
    small = {w.lower(): w for w in d.apart_b}
    return any(_another_case(w, small[w.lower()], d) for w in d.apart_a if w.lower() in small)


def _another_case(one: str, other: str, d: Difference) -> bool:
    low = one.lower()
    if low in vetoes_words.CASED:
        return True
    if len(low) == 1 and low not in "ciar":  # a variable; the languages are written in both ways
        return True
    short = len(low) <= vetoes_words.SYMBOL and low.isalpha()
    number = _numbered(d.a, one) or _numbered(d.b, other)
    return short and (number or low not in (one, other))


def _numbered(text: Profile, word: str) -> bool:
    return any(a[:1].isdigit() and b == word for a, b in pairwise(text.form))


def _marks(d: Difference, lexicon: Lexicon) -> bool:
    """ "resume", "r\u00e9sum\u00e9"; a Hindi word with another vowel sign: bare letters agree."""
    if "".join(d.apart_a).isascii() and "".join(d.apart_b).isascii():
        return False  # nothing bears a mark
    one, other = (
        {bare(w).lower(): w for w in side if w.lower() not in lows}
        for side, lows in (
            (d.apart_a, {w.lower() for w in d.apart_b}),
            (d.apart_b, {w.lower() for w in d.apart_a}),
        )
    )
    return not one.keys().isdisjoint(other)


def _exchange(d: Difference, lexicon: Lexicon) -> bool:
    """ "Can a tenant sue a landlord?", "Can a landlord sue a tenant?": another order."""
    middle = _moved(d)
    if middle is None or (not vetoes_words.FOCUS.isdisjoint(middle[0]) and _shifted(*middle)):
        return False
    one, other = middle
    if not vetoes_words.MUTUAL.isdisjoint(d.a.form):
        return False
    turn = _turn(one, other)
    if turn is not None:
        parts = one[:turn], one[turn:]
        if len(one) == 2 and any(word[0].isdigit() for word in one):
            return False  # "30000 INR", "INR 30,000"
        if any(part[0] in vetoes_words.PREPOSITIONS or "," in part for part in parts):
            return False  # a phrase moved: "from Oslo to Bergen", "to Bergen from Oslo"
        return not any(
            set(part) <= vetoes_words.SUBJECTS for part in parts
        )  # "can I not", "can not I"
    return not (
        one[0] == other[-1] and one[-1] == other[0] and vetoes_words.JOINED.issuperset(one[1:-1])
    )


def _focus(d: Difference, lexicon: Lexicon) -> bool:
    """ "is it not safe to eat", "is it safe not to eat": "not" or "only" moved, or one "not"."""
    middle = _moved(d)
    if middle is not None:
        return not vetoes_words.FOCUS.isdisjoint(middle[0]) and _shifted(*middle)
    one, other = set(d.apart_a), set(d.apart_b)
    if d.a.recognised or d.b.recognised:
        # If the number of negations differs, `negation` decides.
        denied = ("not" in one) != ("not" in other) and "or" not in one | other
        even = (d.a.negations + d.b.negations) % 2 == 0
        few = len(one) + len(other) <= vetoes_words.FEW and vetoes_words.DENIED.issuperset(
            (*d.only_a, *d.only_b)
        )
        return denied and even and few and d.a.asks == d.b.asks
    return (
        not (one | other).isdisjoint(vetoes_words.NOT_ELSEWHERE)
        and len(one) + len(other) <= vetoes_words.FEW
    )


WORDING: Mapping[str, Callable[[Difference, Lexicon], bool]] = MappingProxyType(
    {
        "preposition": _preposition,
        "quantifier": _quantifier,
        "modal": _modal,
        "tense": _tense,
        "person": _person,
        "pointer": _pointer,
        "asked": _asked,
        "sign": _sign,
        "case": _case,
        "marks": _marks,
        "exchange": _exchange,
        "focus": _focus,
    }
)


def _agree(d: Difference) -> bool:
    """Return True if no meaning word differs."""
    return vetoes_words.FUNCTION.issuperset(d.only_a) and vetoes_words.FUNCTION.issuperset(d.only_b)


def _apart(d: Difference, among: frozenset[str]) -> tuple[set[str], set[str]]:
    return {w for w in d.apart_a if w in among}, {w for w in d.apart_b if w in among}


def _both_apart(d: Difference, among: frozenset[str]) -> bool:
    one, other = _apart(d, among)
    return bool(one) and bool(other)


def _tenses(one: set[str], other: set[str]) -> bool:
    past, future = not vetoes_words.PAST.isdisjoint(one), not vetoes_words.FUTURE.isdisjoint(one)
    if past and vetoes_words.PAST.isdisjoint(other):
        return not vetoes_words.NOT_PAST.isdisjoint(other)
    return future and not other.isdisjoint(vetoes_words.NOT_PAST - vetoes_words.FUTURE)


def _is_sign(word: str) -> bool:
    return not (word[0].isalnum() or word[0] in "_\n" or word in vetoes_words.STOPS) and not (
        word[0] == vetoes_words.SPACE and word[1:2].isalnum()
    )


def _bare_signs(signs: Sequence[str]) -> set[str]:
    """Return the signs without spaces beside them, except for a minus: "x -10", "x - 10"."""
    return {w if w == f"{vetoes_words.SPACE}-" else w.strip(vetoes_words.SPACE) for w in signs}


def _tells(sign: str) -> bool:
    """Return True if a sign changes the question if the other text has none."""
    return sign == f"{vetoes_words.SPACE}-" or not vetoes_words.HARMLESS.issuperset(sign)


def _moved(d: Difference) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the parts between the common start and end of two orders of the same words."""
    if len(d.a.form) != len(d.b.form) or d.only_a or d.only_b:
        return None
    a, b = (tuple([w.removesuffix("'s") for w in p.form]) for p in (d.a, d.b))
    if a == b or sorted(a) != sorted(b):
        return None
    start = next(i for i, (one, other) in enumerate(zip(a, b, strict=True)) if one != other)
    end = len(a)
    while a[end - 1] == b[end - 1]:
        end -= 1
    return a[start:end], b[start:end]


def _turn(one: tuple[str, ...], other: tuple[str, ...]) -> int | None:
    """Return the index at which cutting `one` and exchanging the halves gives `other`, or None."""
    return next((at for at in range(1, len(one)) if one[at:] + one[:at] == other), None)


def _shifted(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Return True if only words of `FOCUS` moved, and past more than a subject."""
    rest = [w for w in one if w not in vetoes_words.FOCUS]
    return rest == [
        w for w in other if w not in vetoes_words.FOCUS
    ] and not vetoes_words.SUBJECTS.issuperset(rest)
