"""Vetoes: reasons, from the words alone, not to serve one question's answer for another.

A marker counts only if the two questions otherwise agree: unconditional vetoes on the same markers
refuse half of the true duplicates, conditional ones a fifth of the close ones. Symmetric; twins
are never vetoed. `docs/vetoes.md` has an example and the cost of each; `scripts/count_vetoes`
measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from cacheserver.english.comparison import are_twins
from cacheserver.english.lexicon import Lexicon
from cacheserver.english.vetoes_wording import OF_CLOSE, WORDING, close
from cacheserver.matching.profile import Difference

Veto = Callable[[Difference, Lexicon], bool]


def fired(difference: Difference, enabled: frozenset[str], lexicon: Lexicon) -> tuple[str, ...]:
    """Return the enabled vetoes that fire for a difference, in the order of `VETOES`."""
    if are_twins(difference):
        return ()
    if not close(difference):
        enabled = enabled - OF_CLOSE
    return tuple(
        [name for name, veto in VETOES.items() if name in enabled and veto(difference, lexicon)]
    )


def _numeric(d: Difference, lexicon: Lexicon) -> bool:
    """Each side has a number that the other lacks."""
    one, other = d.a.numbers - d.b.numbers, d.b.numbers - d.a.numbers
    return bool(one and other) and _rest(d, one | other) <= 4


def _unit(d: Difference, lexicon: Lexicon) -> bool:
    """The same number with another unit, or a unit of another kind."""
    one, other = d.a.units - d.b.units, d.b.units - d.a.units
    if one and other:
        return _rest(d, one | other) <= 3
    numbers = {value for value, _ in d.a.quantities} & {value for value, _ in d.b.quantities}
    return (
        any(
            {u for v, u in d.a.quantities if v == number}.isdisjoint(
                {u for v, u in d.b.quantities if v == number}
            )
            for number in numbers
        )
        and _rest(d) <= 3
    )


def _temporal(d: Difference, lexicon: Lexicon) -> bool:
    """Return whether a month, weekday or day differs."""
    one, other = d.a.times - d.b.times, d.b.times - d.a.times
    return bool(one and other) and _rest(d, one | other) <= 3


def _polarity(d: Difference) -> bool:
    # Two reversals cancel: "more positive" asks what "less negative" asks.
    turned = d.flips + d.a.negations + d.b.negations + (d.misdirected and d.flips > 0)
    return turned % 2 == 1


def _negation(d: Difference, lexicon: Lexicon) -> bool:
    """One of them is negated."""
    denied = (d.a.negations + d.b.negations) % 2 == 1
    # "I can't see my card" and "Where is my card?" may be one question: the frame must agree too.
    framed = len(d.a.every ^ d.b.every) <= 4
    return denied and framed and d.flips == 0 and len(d.only_a) + len(d.only_b) <= 2


def _antonym(d: Difference, lexicon: Lexicon) -> bool:
    """ "increase" against "decrease", all else being equal."""
    if d.flips == 0 or not _polarity(d) or len(d.only_a) + len(d.only_b) > 2 * d.flips + 2:
        return False
    # One more word on both sides may be a second reversal: "more generous", "less selfish".
    against = frozenset(o for word in d.only_a for o in lexicon.opposite.get(word, ()))
    flipped = sum(word in against for word in d.only_b)
    return len(d.only_a) <= flipped or len(d.only_b) <= flipped


def _entity(d: Difference, lexicon: Lexicon) -> bool:
    """Each side names a person or thing that the other does not."""
    one = d.a.names & frozenset(d.only_a)
    other = d.b.names & frozenset(d.only_b)
    if not (one and other) or _rest(d, one | other) > 3:
        return False
    return not (_abbreviates(one, d.b.content) or _abbreviates(other, d.a.content))


def _substitution(d: Difference, lexicon: Lexicon) -> bool:
    """One meaning word replaces another in the same place, beside two or more shared ones."""
    if not len(d.only_a) == len(d.only_b) == 1 or d.shared < 2 or d.flips:
        return False
    (old,), (new,) = d.only_a, d.only_b
    return [new if word == old else word for word in d.a.content] == list(d.b.content)


def _direction(d: Difference, lexicon: Lexicon) -> bool:
    """ "from x to y" against "from y to x", unless an antonym turns it back."""
    return d.misdirected and d.flips == 0


def _order(d: Difference, lexicon: Lexicon) -> bool:
    """The same words with subject and object exchanged."""
    keywords = any(p.length == len(p.content) for p in (d.a, d.b))  # "zip repair coat": no grammar
    return d.misordered and not d.misdirected and not keywords and d.flips == 0


def _role(d: Difference, lexicon: Lexicon) -> bool:
    """ "would he ask her" against "would she ask him"."""
    one, other = d.a.pronouns, d.b.pronouns
    return bool(one and other) and one != other and len(one) == len(other) and _rest(d) <= 1


def _connective(d: Difference, lexicon: Lexicon) -> bool:
    """ "x or y" against "x and y"."""
    either = ("or" in d.a.every) != ("or" in d.b.every)
    both = ("and" in d.a.every) != ("and" in d.b.every)
    asked = (
        d.a.asks in _YES_NO and d.b.asks in _YES_NO
    )  # otherwise "and" and "or" often mean the same
    return either and both and asked and _rest(d) <= 1


def _span(d: Difference, lexicon: Lexicon) -> bool:
    """Quoted text, code, a flag or a file name differs."""
    return bool(d.a.spans - d.b.spans and d.b.spans - d.a.spans) and _rest(d) <= 6


def _scope(d: Difference, lexicon: Lexicon) -> bool:
    """One of them asks for a special case: "without", "only", "fake", "for children"."""
    if d.only_a and d.only_b:
        return False
    added = frozenset(d.only_a or d.only_b) | (d.a.every ^ d.b.every)
    return bool(added & lexicon.qualifier) and _rest(d) <= 3


def _narrowing(d: Difference, lexicon: Lexicon) -> bool:
    """One of them continues where the other ends: "... on Linux", "... for children"."""
    if bool(d.only_a) == bool(d.only_b):
        return False
    more, less, extra = (d.a, d.b, d.only_a) if d.only_a else (d.b, d.a, d.only_b)
    goes_on = more.content[: len(less.content)] == less.content and len(extra) <= 4
    return goes_on and any((cue, extra[0]) in more.flows for cue in _NARROWING)


VETOES: Mapping[str, Veto] = MappingProxyType(
    {
        "numeric": _numeric,
        "unit": _unit,
        "temporal": _temporal,
        "negation": _negation,
        "antonym": _antonym,
        "entity": _entity,
        "substitution": _substitution,
        "direction": _direction,
        "order": _order,
        "role": _role,
        "connective": _connective,
        "span": _span,
        "scope": _scope,
        "narrowing": _narrowing,
        **WORDING,
    }
)


_YES_NO = frozenset(("is", "are", "do", "does", "can", "should"))
_NARROWING = (
    *("in", "on", "for", "with", "of", "at", "per", "under", "during", "using", "after", "as"),
    *("before", "from"),
)


def _rest(d: Difference, ignored: frozenset[str] = frozenset()) -> int:
    """Return the number of differing meaning words, without those in `ignored`."""
    return sum(word not in ignored for word in d.only_a) + sum(w not in ignored for w in d.only_b)


def _abbreviates(names: frozenset[str], words: tuple[str, ...]) -> bool:
    initials = "".join(word[0] for word in words)
    return any(len(name) > 1 and name in initials for name in names)
