"""Do two answers say the same? Entries whose answers do are one group.

By the cosine of their embeddings, and by what an embedding is blind to: figures, names, yes and
no. Off the request path. Doubt is "different": a group too small costs hits, one too large
serves wrong answers. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp

from cacheserver.policy.profile import Profile

SAME = 0.5  # `same_answer` from here on groups
SURE = 0.9  # from here on, or from 1 - SURE down, it is a label; between it tells nothing

# A logistic over cosine and shared words. On answers worded by template it finds 98 of 100 of
# the same, and takes 1 in 500 of the near ones for the same.
_BIAS, _COSINE, _SHARED = -32.0, 35.0, 11.0
_SHORT = 12  # words; up to here one more "not" is another answer, beyond it is often style
_AGAINST_NUMBERS = 16.0  # log odds; each has figures that the other lacks
_AGAINST_LONE_NUMBER = 2.0  # one of them has figures, the other none
_AGAINST_DENIAL = 12.0
_YES_NO = frozenset(("yes", "no"))


@dataclass(frozen=True, slots=True)
class Grouped:
    """A stored answer beside a new one."""

    group: str
    cosine: float  # of the two answers' embeddings
    profile: Profile  # of its text


def same_answer(cosine: float, a: Profile, b: Profile) -> float:
    """Probability that two answers say the same. Symmetric in `a` and `b`."""
    logit = _BIAS + _COSINE * cosine + _SHARED * _contained(a, b)
    if a.numbers - b.numbers and b.numbers - a.numbers:
        logit -= _AGAINST_NUMBERS
    elif bool(a.numbers) != bool(b.numbers):
        logit -= _AGAINST_LONE_NUMBER
    short = max(a.length, b.length) <= _SHORT
    if _opposed(a, b) or (short and bool(a.negations) != bool(b.negations)):
        logit -= _AGAINST_DENIAL
    return 1 / (1 + exp(-max(-30.0, min(30.0, logit))))


def verdict(answer: Profile, group: Iterable[Grouped]) -> bool | None:
    """Whether a fresh answer says what a group's answers say; None where that is not sure.

    `group` are the answers at hand of the candidate's group: the nearest of them counts, since
    two wordings may lie far apart while a third is near both.
    """
    told = max((same_answer(g.cosine, answer, g.profile) for g in group), default=SAME)
    if 1 - SURE < told < SURE:
        return None
    return told >= SURE


def assign(answer: Profile, neighbours: Iterable[Grouped]) -> str | None:
    """The group of the neighbour whose answer is most surely the same; None: a group of its own.

    Of two equally sure the one given first.
    """
    best, sure = None, SAME
    for neighbour in neighbours:
        told = same_answer(neighbour.cosine, answer, neighbour.profile)
        if told > sure or (best is None and told == sure):
            best, sure = neighbour.group, told
    return best


def _contained(a: Profile, b: Profile) -> float:
    """Share of the words with meaning of the one with fewer that the other has too."""
    fewer = min(len(a.bag), len(b.bag))
    return len(a.bag & b.bag) / fewer if fewer else 0.5


def _opposed(a: Profile, b: Profile) -> bool:
    """One says yes where the other says no."""
    one, other = a.every & _YES_NO, b.every & _YES_NO
    return bool(one and other) and one.isdisjoint(other)
