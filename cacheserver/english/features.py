"""Feature vector of the difference between two questions: the input of the prior. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import log1p

from cacheserver.english.comparison import idf
from cacheserver.english.lexicon import Lexicon
from cacheserver.matching.features import COUNTED
from cacheserver.matching.profile import Difference, Profile


def features(difference: Difference, fired: Sequence[str], lexicon: Lexicon) -> tuple[float, ...]:
    """Return one number for each of `NAMES`. `fired`: all vetoes that fire, enabled or not."""
    d, a, b = difference, difference.a, difference.b
    rarest = a.names | b.names | a.numbers | b.numbers
    lone_a = [idf(word, rarest, lexicon) for word in d.only_a]
    lone_b = [idf(word, rarest, lexicon) for word in d.only_b]
    lone = sorted(lone_a + lone_b, reverse=True)
    lone_sum = sum(lone)
    common = sum([idf(word, rarest, lexicon) for word in a.bag & b.bag])
    lesser = min(sum(lone_a), sum(lone_b))
    numbers_a, numbers_b = not a.numbers <= b.numbers, not b.numbers <= a.numbers
    times_a, times_b = not a.times <= b.times, not b.times <= a.times
    named_a, named_b = _named(d.only_a, a), _named(d.only_b, b)
    return (
        lone_sum / (lone_sum + common + 1.0),
        1.0 - _jaccard(a.grams, b.grams),
        lesser / (lesser + common + 1.0),
        lone[0] / 10 if lone else 0.0,
        lone[1] / 10 if len(lone) > 1 else 0.0,
        log1p(len(lone)),
        min(len(d.only_a), len(d.only_b), 3) / 3,
        float(numbers_a and numbers_b),
        float(numbers_a != numbers_b),
        float(not (a.units <= b.units or b.units <= a.units)),
        float(times_a and times_b),
        float(times_a != times_b),
        float((d.flips + a.negations + b.negations) % 2),
        float(d.flips > 0),
        float(named_a and named_b),
        float(named_a != named_b),
        float(d.misdirected or d.misordered),
        float(not (a.spans <= b.spans or b.spans <= a.spans)),
        float(a.asks != b.asks),
        abs(log1p(a.length) - log1p(b.length)),
        float(not lone),
        float(min(len(a.bag), len(b.bag)) < 3),
        min(len(COUNTED.intersection(fired)), 3) / 3,
        float("numeric" in fired),
        float("substitution" in fired),
        float("entity" in fired),
        float("narrowing" in fired),
        float("negation" in fired or "antonym" in fired),
    )


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    common = len(one & other)
    union = len(one) + len(other) - common
    return common / union if union else 1.0


def _named(words: Sequence[str], profile: Profile) -> bool:
    return not profile.names.isdisjoint(words)
