"""Decisions of the past under another bar: what would have been served, and what of it was wrong.

Rule: a decision whose record does not tell how it would have gone is counted apart, never guessed.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cacheserver.policy.bound import wilson
from cacheserver.types import Bar, Nanodollars

_POINTS = 50  # of a curve: more cannot be told apart on a screen


@dataclass(frozen=True, slots=True)
class Past:
    """A decision that turned on a stored question, as it was recorded."""

    at: float
    scope: str
    namespace: str
    served: bool
    similarity: float
    probability: float | None  # None: a threshold decided, or a veto
    veto: str | None
    worth: Nanodollars  # what a hit saved, or would have


@dataclass(frozen=True, slots=True)
class Replay:
    """What a bar would have made of past decisions."""

    decisions: int
    untold: int  # whose records do not say what the bar would have done
    hits_before: int
    hits_after: int
    begun: int  # hits that were misses
    ended: int  # misses that were hits
    expected_wrong: float | None  # of the hits after, by their probabilities; None: one has none
    saved_before: Nanodollars
    saved_after: Nanodollars


@dataclass(frozen=True, slots=True)
class Told:
    """A candidate of which it is known whether its answer served."""

    score: float  # what is held against the bar
    right: bool | None  # None: that could not be told
    weight: float = 1.0  # how many such it stands for
    worth: Nanodollars = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """What a bar serves of candidates that were told of; the interval is Wilson's, 95%."""

    bar: float
    hits: int
    hit_rate: float | None  # of all that was asked; None: not known
    unsure: int  # hits of which it could not be told
    wrong: int
    wrong_rate: float
    wrong_low: float
    wrong_high: float
    saved: Nanodollars


def past_of(record: Mapping[str, Any]) -> Past | None:
    """A decision's record read; None where it turned on no stored question."""
    shown = record.get("decision") or {}
    if shown.get("similarity") is None or shown.get("kind") not in ("semantic", "miss"):
        return None
    served = shown["kind"] == "semantic"
    return Past(
        at=float(record["at"]),
        scope=str(record["scope"]),
        namespace=str(record["namespace"]),
        served=served,
        similarity=float(shown["similarity"]),
        probability=shown.get("probability"),
        veto=shown.get("veto"),
        worth=_nanodollars(record.get("saved_usd" if served else "cost_usd")),
    )


def serves(past: Past, bar: Bar, level: float) -> bool | None:
    """Whether a bar would have served it; None where the record does not say.

    `level` is the probability that `bar.target` asks for in its scope.
    """
    if bar.similarity is not None:
        return past.similarity >= bar.similarity
    if bar.target is None:
        return False
    if past.veto is not None:  # lifted, it would have been judged, and nobody knows how
        return None if past.veto in bar.vetoes_off else False
    return None if past.probability is None else past.probability >= level


def replay(decided: Iterable[tuple[Past, bool | None]]) -> Replay:
    """Past decisions and what `serves` says of each, summed up."""
    known = [(past, after) for past, after in decided]
    told = [(past, after) for past, after in known if after is not None]
    before = [past for past, _ in told if past.served]
    after = [past for past, serve in told if serve]
    probabilities = [past.probability for past in after]
    expected = sum(1 - p for p in probabilities if p is not None)
    return Replay(
        decisions=len(known),
        untold=len(known) - len(told),
        hits_before=len(before),
        hits_after=len(after),
        begun=sum(not past.served for past in after),
        ended=sum(past.served and not serve for past, serve in told),
        expected_wrong=None if None in probabilities else expected,
        saved_before=sum(past.worth for past in before),
        saved_after=sum(past.worth for past in after),
    )


def rate(told: Iterable[Told], bar: float, *, asked: int | None = None) -> Rate:
    """What a bar serves, inclusive. `asked` counts all questions, those without candidate too.

    Weighted ones stand for many and tell of fewer: the interval is of as many as they tell of.
    """
    served = [one for one in told if one.score >= bar]
    known = [one for one in served if one.right is not None]
    total = sum(one.weight for one in known)
    share = sum(one.weight for one in known if not one.right) / total if total else 0.0
    tell_of = total * total / sum(one.weight**2 for one in known) if total else 0.0
    low, high = wilson(share * tell_of, tell_of)
    return Rate(
        bar=bar,
        hits=len(served),
        hit_rate=len(served) / asked if asked else None,
        unsure=len(served) - len(known),
        wrong=sum(not one.right for one in known),
        wrong_rate=share,
        wrong_low=low,
        wrong_high=high,
        saved=sum(one.worth for one in served),
    )


def rates(told: Sequence[Told], *, asked: int) -> list[Rate]:
    """Rates from the strictest bar to the loosest, each at a score that was seen."""
    scores = sorted({one.score for one in told}, reverse=True)
    step = max(1, len(scores) // _POINTS)
    return [rate(told, bar, asked=asked) for bar in scores[::step]]


def recommended(told: Sequence[Told], target: float, *, asked: int) -> Rate | None:
    """The loosest bar whose upper bound of wrong hits is at most `target`; None: there is none."""
    for bar in sorted({one.score for one in told}):
        found = rate(told, bar, asked=asked)
        if found.wrong_high <= target:
            return found
    return None


def _nanodollars(usd: object) -> Nanodollars:
    return int(Decimal(usd) * 1_000_000_000) if isinstance(usd, str) else 0
