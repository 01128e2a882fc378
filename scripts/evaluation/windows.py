"""Windows of traffic with more wrong hits than chance explains.

A share over a whole run hides a bad hour. Each disjoint window of requests is held against the
binomial quantile of its own hits: at 99.9% one window in a thousand lies above it by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SIZE = 500
_QUANTILE = 0.999


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of requests."""

    first: int  # request
    hits: int
    wrong: int
    most: int  # wrong hits that chance explains at the target

    @property
    def over(self) -> bool:
        return self.wrong > self.most


def windows(
    hits: Sequence[bool], wrong: Sequence[bool], target: float, *, since: int = 0, size: int = SIZE
) -> list[Window]:
    """The full windows from request `since` on."""
    return list(_windows(hits, wrong, target, since, size))


def _windows(
    hits: Sequence[bool], wrong: Sequence[bool], target: float, since: int, size: int
) -> Iterator[Window]:
    for first in range(since, len(hits) - size + 1, size):
        served = sum(hits[first : first + size])
        bad = sum(wrong[first : first + size])
        yield Window(first, served, bad, quantile(served, target))


def quantile(count: int, share: float, at: float = _QUANTILE) -> int:
    """The least k that a binomial count does not exceed with probability `at`."""
    likely = (1 - share) ** count
    below, k = likely, 0
    while below < at and k < count:
        likely *= (count - k) / (k + 1) * share / (1 - share)
        below, k = below + likely, k + 1
    return k
