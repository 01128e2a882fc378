"""Errors of comparing answers, drawn: what a replay with perfect answers would not show.

Rates come from `prose`. A draw depends on the seed and on what is compared, never on the order of
the calls; a second asking draws anew. Pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from cacheserver.calibration.answers.comparison import Outcome


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of the outcomes that come out otherwise."""

    same_different: float = 0.0  # of what is the same, called different
    same_open: float = 0.0
    different_same: float = 0.0
    different_open: float = 0.0


@dataclass(frozen=True, slots=True)
class Noise:
    """Errors at given rates.

    By pair each comparison errs for itself. By answer a fresh answer errs in all its comparisons
    together, as one does that puts things in an unusual way; asking again gives another answer.
    """

    rates: Rates
    seed: int
    by: Literal["pair", "answer"] = "pair"

    def perturbed(self, outcome: Outcome, fresh: str, stored: str, *, asking: int = 0) -> Outcome:
        """The outcome as the comparison of a fresh with a stored answer would tell it."""
        drawn = self._drawn(fresh, stored if self.by == "pair" else "", asking)
        rates = self.rates
        match outcome:
            case "same":
                return _of(drawn, rates.same_different, rates.same_open, "different", "same")
            case "different":
                return _of(drawn, rates.different_same, rates.different_open, "same", "different")
            case "open":
                return "open"

    def _drawn(self, fresh: str, stored: str, asking: int) -> float:
        """Uniform in [0, 1)."""
        text = "\0".join((str(self.seed), fresh, stored, str(asking)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64


def _of(drawn: float, wrong: float, open_: float, other: Outcome, noisy: Outcome) -> Outcome:
    if drawn < wrong:
        return other
    return "open" if drawn < wrong + open_ else noisy
