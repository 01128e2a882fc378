"""Cosine scale: an embedder's cosines, as the default embedder would give them.

Two questions that ask the same have a cosine of 0.9 with one embedder and of 0.97 with another.
Every constant of the decision, and every threshold an operator set, is stated for all-MiniLM-L6-v2,
so other embedders' cosines are mapped onto its scale: the same share of pairs lies above a value.
`scripts/fit_prior` measures the map. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class CosineScale:
    """Piecewise linear map of cosines; without knots each cosine stays as it is."""

    knots: tuple[tuple[float, float], ...] = ()  # (embedder's cosine, mapped), both rising

    def __post_init__(self) -> None:
        rising = all(a < b and c <= d for (a, c), (b, d) in pairwise(self.knots))
        if len(self.knots) == 1 or not rising:
            raise ValueError("a cosine scale needs two knots or more, rising")

    def __call__(self, cosine: float) -> float:
        """Return the mapped cosine; beyond the outer knots the outer lines go on, to -1 and 1."""
        if not self.knots:
            return cosine
        at = bisect_right(self.knots, (cosine, 2.0))
        at = min(max(at, 1), len(self.knots) - 1)
        (a, c), (b, d) = self.knots[at - 1], self.knots[at]
        return max(-1.0, min(1.0, c + (cosine - a) * (d - c) / (b - a)))


def match_quantiles(ours: Sequence[float], theirs: Sequence[float], knots: int) -> CosineScale:
    """Return the scale from `ours` to `theirs`, cosines of the same pairs by two embedders.

    1 stays 1: equal texts are equal to every embedder.
    """
    one, other = sorted(ours), sorted(theirs)
    places = [round(i * (len(one) - 1) / (knots - 1)) for i in range(knots)]
    found: list[tuple[float, float]] = []
    for place in places:
        knot = (round(one[place], 4), round(other[place], 4))
        if not found or (knot[0] > found[-1][0] and knot[1] >= found[-1][1]):
            found.append(knot)
    while found and (found[-1][0] >= 1.0 or found[-1][1] >= 1.0):
        found.pop()
    if not found:  # every pair is of equal texts, to one of the embedders
        return CosineScale()
    return CosineScale((*found, (1.0, 1.0)))
