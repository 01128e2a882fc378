"""Fits the two log-odds of `routing.complexity`, and makes their probabilities hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar

from cacheserver.routing.complexity import SIZES, Weights, features
from cacheserver.routing.task_inference import infer_task

LEVELS = ("SIMPLE", "MEDIUM", "COMPLEX")

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Example:
    prompt: str
    label: str
    kind: str
    weight: float = 1.0
    vector: Any = None  # a unit row; None: longer than the embedder's window


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the fit: L2 penalties by group of weights, and the words that become features."""

    vector_l2: float = 1.0
    word_l2: float = 1.0
    group_l2: float = 2.0  # of what stands for many words, and of sizes
    least: int = 2  # examples that a word must be in
    drop_below: float = 0.2  # a weight this small is left out of the file


@lru_cache(maxsize=10_000)
def found_in(prompt: str) -> Mapping[str, float]:
    """Return the features of a prompt, cached over all fits."""
    return features(prompt, infer_task({}, prompt))


class Fitted:
    """Weights being fitted: a design matrix over a fixed vocabulary."""

    def __init__(self, examples: Sequence[Example], *, vector: bool, settings: Settings) -> None:
        self.settings = settings
        self.vector = vector
        counts = Counter(name for e in examples for name in found_in(e.prompt))
        self.names = sorted(name for name, count in counts.items() if count >= settings.least)
        self.at = {name: place for place, name in enumerate(self.names)}
        self.parameters: Matrix = np.zeros(0)
        self._fit(examples)

    def matrix(self, examples: Sequence[Example]) -> Matrix:
        """One row an example: 1, the embedding, the features."""
        wide = 384 if self.vector else 0
        rows = np.zeros((len(examples), 1 + wide + len(self.names)))
        rows[:, 0] = 1.0
        for row, example in zip(rows, examples, strict=True):
            if wide and example.vector is not None:
                row[1 : 1 + wide] = example.vector
            for name, value in found_in(example.prompt).items():
                if (place := self.at.get(name)) is not None:
                    row[1 + wide + place] = value
        return rows

    def logits(self, examples: Sequence[Example]) -> Matrix:
        """Columns SIMPLE, MEDIUM (always 0), COMPLEX."""
        two = self.matrix(examples) @ self.parameters.reshape(2, -1).T
        return np.column_stack([two[:, 0], np.zeros(len(two)), two[:, 1]])

    def weights(self, temperature: float) -> Weights:
        """Return the weights in the server's format, without those below `drop_below`."""
        simple, complex = self.parameters.reshape(2, -1)
        wide = 384 if self.vector else 0
        kept = {
            name: (round(float(simple[1 + wide + i]), 3), round(float(complex[1 + wide + i]), 3))
            for name, i in self.at.items()
            if max(abs(simple[1 + wide + i]), abs(complex[1 + wide + i]))
            >= self.settings.drop_below
        }
        return Weights(
            (round(float(simple[0]), 3), round(float(complex[0]), 3)),
            (tuple(map(float, simple[1 : 1 + wide])), tuple(map(float, complex[1 : 1 + wide]))),
            kept,
            round(temperature, 3),
        )

    def _held(self, name: str) -> float:
        """The words and pairs are thousands; the rest are few, and seen often."""
        few = name.startswith(("group:", "task:")) or name in SIZES
        return self.settings.group_l2 if few else self.settings.word_l2

    def _fit(self, examples: Sequence[Example]) -> None:
        rows = self.matrix(examples)
        truth = np.array([LEVELS.index(e.label) for e in examples])
        weight = np.array([e.weight for e in examples])
        wide = 384 if self.vector else 0
        held = np.concatenate(
            [
                [1e-4],
                np.full(wide, self.settings.vector_l2),
                np.array([self._held(name) for name in self.names]),
            ]
        )
        held = np.concatenate([held, held])

        def loss(flat: Matrix) -> tuple[float, Matrix]:
            two = rows @ flat.reshape(2, -1).T
            logits = np.column_stack([two[:, 0], np.zeros(len(two)), two[:, 1]])
            shares = softmax(logits)
            picked = shares[np.arange(len(truth)), truth]
            error = shares.copy()
            error[np.arange(len(truth)), truth] -= 1.0
            error *= weight[:, None]
            slope = np.concatenate([rows.T @ error[:, 0], rows.T @ error[:, 2]])
            value = -(weight * np.log(np.maximum(picked, 1e-12))).sum()
            return float(value + 0.5 * (held * flat**2).sum()), slope + held * flat

        start = np.zeros(2 * rows.shape[1])
        self.parameters = minimize(
            loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}
        ).x


def softmax(logits: Matrix) -> Matrix:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Matrix = shifted / shifted.sum(axis=1, keepdims=True)
    return shares


def temperature(logits: Matrix, labels: Sequence[str]) -> float:
    """Fit the temperature: the divisor of the logits with the least log loss on `labels`."""
    truth = np.array([LEVELS.index(label) for label in labels])

    def loss(log_t: float) -> float:
        shares = softmax(logits / np.exp(log_t))
        return float(-np.log(np.maximum(shares[np.arange(len(truth)), truth], 1e-12)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-2.0, 2.0), method="bounded").x))


def calibration_error(shares: Matrix, labels: Sequence[str], bins: int = 10) -> float:
    """Return the expected calibration error, over `bins` groups of equal size."""
    sure = shares.max(axis=1)
    right = shares.argmax(axis=1) == np.array([LEVELS.index(label) for label in labels])
    groups = np.array_split(np.argsort(sure), bins)
    return float(sum(abs(sure[g].mean() - right[g].mean()) * len(g) for g in groups) / len(sure))


def by_label(examples: Sequence[Example]) -> Mapping[str, int]:
    return Counter(e.label for e in examples)
