"""Prior: the probability that one answer serves two questions, before a scope has labels.

A logistic model over the cosine and the words, fitted for one embedder by `scripts/fit_prior` on
train splits; its held-out reliability is in `docs/prior.md`. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from types import MappingProxyType

from cacheserver.core import data_files
from cacheserver.matching.cosine_scale import CosineScale
from cacheserver.matching.features import NAMES

# Fitted at or above 0: a higher cosine never lowers the probability.
RISING = ("cosine", "cosine_80", "cosine_92")
# Evidence against serving only: fitted at or below 0, whatever a sample suggests.
FALLING = (
    *("numbers_both", "numbers_one", "units", "times_both", "times_one", "turned", "flipped"),
    *("names_both", "names_one", "moved", "spans", "vetoes", "numeric", "substitution"),
    *("entity", "narrowing", "polar"),
)
TERMS = ("bias", *NAMES, *RISING)
_UNKNOWN = 0.5  # far below every floor


@dataclass(frozen=True, slots=True)
class Prior:
    """Prior of one embedder. Without weights it is unfitted.

    An unfitted one knows nothing: a scope without labels serves twins only. Answers are then not
    compared by cosine either, so that no label rests on one.
    """

    weights: Mapping[str, float] = field(default_factory=dict)  # by `TERMS`
    scale: CosineScale = field(default_factory=CosineScale)

    @property
    def fitted(self) -> bool:
        return bool(self.weights)

    def probability(self, similarity: float, lexical: Sequence[float]) -> float:
        """Return a probability in (0, 1), never decreasing in `similarity`, a cosine on the scale.

        `lexical` is the result of `Language.features`.
        """
        if not self.fitted:
            return _UNKNOWN
        terms, weights = basis(similarity, lexical), self.weights
        logit = weights["bias"] + sum([weights[name] * value for name, value in terms.items()])
        return 1 / (1 + exp(-max(-30.0, min(30.0, logit))))


def basis(similarity: float, lexical: Sequence[float]) -> Mapping[str, float]:
    """Return the terms of the logistic model, by name."""
    terms = dict(zip(NAMES, lexical, strict=True))
    similar = max(0.0, similarity)
    terms["cosine"] = similar
    terms["cosine_80"] = max(0.0, similar - 0.80) * 5  # hinges: 0..1 from 0.8 up
    terms["cosine_92"] = max(0.0, similar - 0.92) * 12.5
    return terms


UNFITTED = Prior()
# Of all-MiniLM-L6-v2, written by `scripts/fit_prior`.
MINILM = Prior(MappingProxyType(data_files.table("cacheserver.matching", "prior_weights.json")))


def evidence_id(embedder: str, prior: Prior) -> str:
    """Return the name of what evidence rests on: the embedder, and the prior if it has another.

    Cosines on two scales, or probabilities of two priors, do not belong into one fit.
    """
    if prior == MINILM:
        return embedder
    parts = json.dumps([prior.scale.knots, sorted(prior.weights.items())])
    return f"{embedder}:prior-{hashlib.sha256(parts.encode()).hexdigest()[:12]}"
