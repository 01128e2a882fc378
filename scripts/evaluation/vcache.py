"""vCache's decision for one entry, written from the formulas of its paper (arXiv 2502.03771)."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_LEAST = 6  # observations, the two assumed ones among them; with fewer it always explores
_GRID = tuple(float(e) for e in np.linspace(1e-6, 1 - 1e-6, 50))
_QUANTILES = np.array([NormalDist().inv_cdf(1 - e) for e in _GRID])
_RIDGE = 1e-2  # the likelihood of separable observations has no greatest point


@dataclass(slots=True)
class Entry:
    """(similarity, right) of later prompts nearest to it; two are assumed at the start."""

    seen: list[tuple[float, bool]] = field(default_factory=lambda: [(0.0, False), (1.0, True)])
    _fitted: tuple[float, float, float] | None = None  # to what was seen; None: not since

    def observe(self, similarity: float, right: bool) -> None:
        self.seen.append((round(similarity, 3), right))
        self._fitted = None

    def fitted(self) -> tuple[float, float, float]:
        """(steepness, middle, standard error of the middle) of the likeliest sigmoid."""
        if self._fitted is None:
            self._fitted = _fit(self.seen)
        return self._fitted


def exploration(entry: Entry, similarity: float, target: float) -> float:
    """Probability to ask anew: tau = min over eps of 1 - delta / (1 - (1 - eps) L(s, t', g))."""
    if len(entry.seen) < _LEAST:
        return 1.0
    steep, middle, spread = entry.fitted()
    middles = np.clip(middle + _QUANTILES * spread, 0.0, 1.0)
    right = _expit(steep * (similarity - middles))
    alpha = (1 - np.array(_GRID)) * right
    return float(np.clip(1 - target / np.maximum(1 - alpha, 1e-9), 0.0, 1.0).min())


def _fit(seen: list[tuple[float, bool]]) -> tuple[float, float, float]:
    """(steepness, middle, standard error of the middle) of the sigmoid that is likeliest."""
    rows = np.array([[1.0, s] for s, _ in seen])
    right = np.array([float(r) for _, r in seen])
    weights = np.zeros(2)
    for _ in range(30):
        probability = _expit(rows @ weights)
        slope = rows.T @ (probability - right) + _RIDGE * weights
        bend = (rows * (probability * (1 - probability))[:, None]).T @ rows + _RIDGE * np.eye(2)
        step = np.linalg.solve(bend, slope)
        weights = weights - np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-4:
            break
    steep = max(float(weights[1]), 1e-6)
    along = np.array([-1 / steep, weights[0] / steep**2])
    spread = float(np.sqrt(along @ np.linalg.solve(bend, along)))
    return steep, float(np.clip(-weights[0] / steep, 0.0, 1.0)), spread


def _expit(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))))
