"""The probability that one answer serves both, before a scope has labels of its own.

A logistic over the cosine, the verifier and the words, fitted by `scripts/fit_prior` on train
splits; its held-out reliability is in `docs/verifier.md`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log

from cacheserver.policy import prior_weights
from cacheserver.policy.features import NAMES

_VERIFIER_RANGE = 7.0  # logits beyond are the same certainty
# Fitted at or above 0: a better score or a higher cosine never lowers the probability.
RISING = (
    *("cosine", "cosine_80", "cosine_92"),
    *("verifier_low_near", "verifier_middle_near", "verifier_high_near"),
    *("verifier_low_far", "verifier_middle_far", "verifier_high_far"),
)
# What only ever speaks against serving: fitted at or below 0, whatever a sample suggests.
FALLING = (
    *("numbers_both", "numbers_one", "units", "times_both", "times_one", "turned", "flipped"),
    *("names_both", "names_one", "moved", "spans", "vetoes", "numeric", "substitution"),
    *("entity", "narrowing", "polar"),
)
_BEND = 2.0  # where the slope over the verifier's logit may change


def prior(cosine: float, verifier: float | None, lexical: Sequence[float]) -> float:
    """Probability in (0, 1). `lexical` is what `features` gave.

    `verifier` is its score, both orders averaged; None where it was not asked, and then other
    weights hold. Never decreasing in either.
    """
    weights = prior_weights.WITHOUT if verifier is None else prior_weights.WITH
    terms = basis(cosine, verifier, lexical)
    logit = weights["bias"] + sum([weights[name] * value for name, value in terms.items()])
    return 1 / (1 + exp(-max(-30.0, min(30.0, logit))))


def basis(cosine: float, verifier: float | None, lexical: Sequence[float]) -> Mapping[str, float]:
    """The terms of the logistic, by name."""
    terms = dict(zip(NAMES, lexical, strict=True))
    similar = max(0.0, cosine)
    terms["cosine"] = similar
    terms["cosine_80"] = max(0.0, similar - 0.80) * 5  # bends: 0..1 from 0.8 up
    terms["cosine_92"] = max(0.0, similar - 0.92) * 12.5
    if verifier is not None:
        sure = logit_of(verifier)
        near = 1 - min(1.0, terms["unlike_words"])  # the verifier tells more of near twins
        parts = {
            "low": min(0.0, sure + _BEND),
            "middle": max(-_BEND, min(_BEND, sure)),
            "high": max(0.0, sure - _BEND),
        }
        for name, part in parts.items():
            terms[f"verifier_{name}_near"] = part * near
            terms[f"verifier_{name}_far"] = part * (1 - near)
    return terms


def both_orders(scores: Sequence[float]) -> float:
    """One score of a pair's two orders: the mean of their log odds, as the prior was fitted."""
    return 1 / (1 + exp(-sum(map(logit_of, scores)) / len(scores)))


def logit_of(score: float) -> float:
    """Log odds of a verifier score, cut to what differs."""
    inner = min(max(score, 1e-6), 1 - 1e-6)
    return max(-_VERIFIER_RANGE, min(_VERIFIER_RANGE, log(inner / (1 - inner))))
