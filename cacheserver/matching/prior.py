"""Prior: the probability that one answer serves two questions, before a scope has labels.

A logistic model over the cosine and the words, fitted by `scripts/fit_prior` on train splits; its
held-out reliability is in `docs/prior.md`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp
from types import MappingProxyType

from cacheserver.core import data_files
from cacheserver.matching.features import NAMES

# Written by `scripts/fit_prior`.
WEIGHTS: Mapping[str, float] = MappingProxyType(
    data_files.table("cacheserver.matching", "prior_weights.json")
)
# Fitted at or above 0: a higher cosine never lowers the probability.
RISING = ("cosine", "cosine_80", "cosine_92")
# Evidence against serving only: fitted at or below 0, whatever a sample suggests.
FALLING = (
    *("numbers_both", "numbers_one", "units", "times_both", "times_one", "turned", "flipped"),
    *("names_both", "names_one", "moved", "spans", "vetoes", "numeric", "substitution"),
    *("entity", "narrowing", "polar"),
)


def prior(cosine: float, lexical: Sequence[float]) -> float:
    """Return a probability in (0, 1), never decreasing in `cosine`.

    `lexical` is the result of `features.features`.
    """
    terms = basis(cosine, lexical)
    logit = WEIGHTS["bias"] + sum([WEIGHTS[name] * value for name, value in terms.items()])
    return 1 / (1 + exp(-max(-30.0, min(30.0, logit))))


def basis(cosine: float, lexical: Sequence[float]) -> Mapping[str, float]:
    """Return the terms of the logistic model, by name."""
    terms = dict(zip(NAMES, lexical, strict=True))
    similar = max(0.0, cosine)
    terms["cosine"] = similar
    terms["cosine_80"] = max(0.0, similar - 0.80) * 5  # hinges: 0..1 from 0.8 up
    terms["cosine_92"] = max(0.0, similar - 0.92) * 12.5
    return terms
