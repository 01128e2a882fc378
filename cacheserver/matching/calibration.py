"""Calibration: a scope's probability that a stored answer serves, learned from its labels.

A logistic model over the evidence, fitted to a rolling window of labels and regularised towards
the prior, plus offsets for answer groups and entries. A state is a frozen value: `learn` and
`refit` return a new one; `refit` is too slow for the request path. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import exp, inf, log
from typing import Literal, TypeAlias

from cacheserver.core.evidence import Evidence
from cacheserver.matching.offsets import Offsets, WeightedOutcome, fit_offsets

Source: TypeAlias = Literal["miss", "audit", "feedback", "admin"]

WINDOW = 2_000  # labels of a fit; more are slow, and describe past traffic
# From this many labels on, a scope is refitted in steps of as many: between two steps no label
# changes weights, level or support, whoever sends it.
STEP = 1_000
MAX_LABELS = WINDOW + STEP  # stored, so that those of the last fit remain until the next
LEAST = 100  # labels before a scope's own calibration applies
EVERY = 100  # most labels between two refits before the first step, between two reviews after it
_POWER = 0.5  # of a label's weight in the fit: with 1 few heavy audits dominate, 0 ignores sampling
_RIDGE = 1.0  # strength of the regularisation towards the prior, in labels
_STEPS = 12  # of Newton's method; 4 suffice from a warm start
_FOIL = 0.25  # labels that a foil counts for in the fit
_FAR = 30.0  # log-odds are clipped here

NAMES = (
    *("bias", "low", "high", "margin", "share", "pull", "second", "crowd", "prior"),
    *("prior alone", "twin"),
)
# Signs are constraints: whatever the labels, a probability never falls as only the cosine rises.
# Labels seen at 0.7 to 0.95 alone once gave 0.999 at a cosine of 0.05.
_EITHER_WAY = frozenset(("bias", "second"))
_LEAST = tuple(-inf if name in _EITHER_WAY else 0.0 for name in NAMES)
# Prior weights: rounded from a fit to streams of generated questions, with less weight on the
# cosine and more on the words than on those; the weights of the crowd and of the cosine's two
# slopes were set by hand. A candidate with few neighbours is judged by the prior alone.
START = (-1.5, 1.5, 1.0, 0.8, 0.8, 2.0, 0.6, 0.5, 0.3, 1.0, 2.0)
_COMPANY = 5  # least neighbours that count as evidence


@dataclass(frozen=True, slots=True)
class Label:
    """Verdict on one decision: whether the answer served."""

    evidence: Evidence
    right: bool  # one answer served both
    weight: float  # 1 / the chance that this decision was sampled
    source: Source
    served: bool  # a hit; otherwise a miss that might have been one
    embedder: str  # `prior.evidence_id` of it
    adjustment: float = 0.0  # log-odds added by the entry's own labels at the decision
    foil: Evidence | None = None  # `decision.foil`: an example of a wrong hit
    caller: str = ""  # hashed; "": unknown
    at: float = 0.0  # Unix seconds when learned
    namespace: str | None = None  # of the question; None: of an earlier version


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration state of a scope."""

    weights: tuple[float, ...] = START
    labels: tuple[Label, ...] = ()  # oldest first
    fresh: int = 0  # labels since the last fit
    offsets: Offsets = field(default_factory=Offsets)  # of groups and entries

    @property
    def refit_due(self) -> bool:
        """Return True if a refit is due: often while there are few labels, then in steps."""
        return self.fresh >= self.step

    @property
    def step(self) -> int:
        """Return the number of new labels after which a refit is due."""
        if len(self.labels) - self.fresh >= STEP:
            return STEP
        return max(10, min(EVERY, len(self.labels) // 10))

    @property
    def sampled(self) -> tuple[Label, ...]:
        """Return the fitted labels that were sampled, which excludes feedback.

        Callers who report a wrong answer choose what they report on. Feedback changes the offsets
        of its own answer and group, never the scope's weights, level or support.
        """
        return tuple(label for label in self.fitted if label.source != "feedback")

    @property
    def review_due(self) -> bool:
        """Return True if offsets and shut groups are due for an update without a refit."""
        return self.fresh % EVERY == 0

    @property
    def fitted(self) -> tuple[Label, ...]:
        """Return the labels of the last fit."""
        return self.labels[: len(self.labels) - self.fresh][-WINDOW:]

    @property
    def cold_start(self) -> bool:
        """Return True if too few labels are fitted, so that the prior decides."""
        return len(self.labels) - self.fresh < LEAST


def terms(evidence: Evidence) -> tuple[float, ...]:
    """Return the terms of the logistic model, each of the order of 1, in the order of `NAMES`."""
    twin = float(evidence.twin)
    if evidence.company < _COMPANY:
        return (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, evidence.prior, twin)
    cosine = (evidence.cosine - 0.8) * 5
    return (
        1.0,
        min(0.0, cosine),
        max(0.0, cosine),
        evidence.margin * 5,
        evidence.share,
        evidence.pull,
        (evidence.second - 0.8) * 5,
        (evidence.crowd - 0.8) * 5,
        evidence.prior,
        0.0,
        twin,
    )


def probability(state: Calibration, evidence: Evidence, adjustment: float = 0.0) -> float:
    """Return the probability that the candidate's answer serves; `adjustment` is in log-odds."""
    return expit(_logit(state, evidence) + state.offsets.log_odds(evidence) + adjustment)


def learn(state: Calibration, label: Label) -> Calibration:
    """Return the state with one label more. Its weights change with the next `refit`."""
    recent = state.labels[1 - MAX_LABELS :] if len(state.labels) >= MAX_LABELS else state.labels
    return replace(state, labels=(*recent, label), fresh=state.fresh + 1)


def unlearn(state: Calibration, place: int) -> Calibration:
    """Return the state without the label at `place`. Its weights change with the next `refit`."""
    fresh = state.fresh - (place >= len(state.labels) - state.fresh)
    left = (*state.labels[:place], *state.labels[place + 1 :])
    return replace(state, labels=left, fresh=fresh)


def refit(state: Calibration) -> Calibration:
    """Return the state refitted to its window: 35 ms of CPU for 2,000 labels."""
    state = replace(state, fresh=0)
    window = state.sampled
    rows = [terms(label.evidence) for label in window]
    right = [float(label.right) for label in window]
    foils = [terms(label.foil) for label in window if label.foil is not None]
    fitted = _newton(
        [*rows, *foils],
        [*right, *[0.0] * len(foils)],
        [*_counts(window, _scale(window)), *[_FOIL] * len(foils)],
        state.weights,
    )
    return refit_offsets(replace(state, weights=fitted))


def refit_offsets(state: Calibration) -> Calibration:
    """Return the state with offsets of groups and entries fitted to the newest labels.

    Only the probabilities of these groups change, so it need not wait for a step.
    """
    return replace(state, offsets=fit_offsets(_outcomes(state)))


def recorded_probabilities(state: Calibration) -> list[float]:
    """Return each sampled label's probability as recorded at its decision.

    By the fit itself each wrong hit looks less likely than it was. Leave-one-out by today's fit is
    no better: questions that were misses then and would be hits now are wrong more often than
    today's probability says; by it BANKING77 served 38% instead of 47% at a target of 1%.
    """
    return [
        probability(state, label.evidence, label.adjustment)
        if label.evidence.recorded_probability is None  # by an older version
        else label.evidence.recorded_probability
        for label in state.sampled
    ]


def _outcomes(state: Calibration) -> list[WeightedOutcome]:
    # The fit's labels stay until the next fit: new labels of some groups must not push out others'.
    fitted = state.fitted
    window = (*fitted, *state.labels[len(state.labels) - state.fresh :])
    return [
        WeightedOutcome(label.evidence, _logit(state, label.evidence), label.right, count)
        for label, count in zip(window, _counts(window, _scale(fitted)), strict=True)
    ]


def _logit(state: Calibration, evidence: Evidence) -> float:
    row = terms(evidence)
    return sum([w * x for w, x in zip(state.weights, row, strict=True)])  # a list: half the time


def _counts(labels: Sequence[Label], scale: float) -> list[float]:
    return [label.weight**_POWER * scale for label in labels]


def _scale(labels: Sequence[Label]) -> float:
    """Return the factor from weights to labels: a heavy label stands for many hits, but is one."""
    if not labels:
        return 1.0
    counts: list[float] = [label.weight**_POWER for label in labels]
    return sum(counts) / sum([count * count for count in counts])


def expit(logit: float) -> float:
    return 1 / (1 + exp(-max(-_FAR, min(_FAR, logit))))


def _newton(
    rows: Sequence[tuple[float, ...]],
    wanted: Sequence[float],
    counts: Sequence[float],
    start: tuple[float, ...],
) -> tuple[float, ...]:
    """Minimise the weighted log loss plus the squared distance to `START`.

    No weight falls below its bound in `_LEAST`: projected Newton steps (Bertsekas, SIAM J. Control
    20, 1982).
    """
    width = len(start)
    weights, step = list(start), [0.0] * width
    before = inf
    for _ in range(_STEPS):
        slope = [_RIDGE * (w - s) for w, s in zip(weights, START, strict=True)]
        bend = [[_RIDGE * (i == j) for j in range(i + 1)] for i in range(width)]
        loss = sum((w - s) ** 2 for w, s in zip(weights, START, strict=True)) * _RIDGE / 2
        for row, y, count in zip(rows, wanted, counts, strict=True):
            predicted = expit(sum([w * x for w, x in zip(weights, row, strict=True)]))
            loss -= count * log(predicted if y else 1 - predicted)
            pull, stiff = count * (predicted - y), count * predicted * (1 - predicted)
            for i, x in enumerate(row):
                slope[i] += pull * x
                if stiff > 1e-6:
                    heavy, line = stiff * x, bend[i]
                    for j in range(i + 1):
                        line[j] += heavy * row[j]
        if (
            loss > before + 1e-6
        ):  # too far: a full step overshoots where probabilities are near 0 or 1
            step = [s / 4 for s in step]
            weights = [w + 3 * s for w, s in zip(weights, step, strict=True)]
            continue
        before = loss
        held = [w <= low and s > 0 for w, s, low in zip(weights, slope, _LEAST, strict=True)]
        for i in range(width):
            for j in range(i):
                if held[i] or held[j]:
                    bend[i][j] = 0.0
        step = _solve(_root(bend), [0.0 if h else s for h, s in zip(held, slope, strict=True)])
        moved = [max(low, w - s) for w, s, low in zip(weights, step, _LEAST, strict=True)]
        step = [w - m for w, m in zip(weights, moved, strict=True)]
        weights = moved
        if max(map(abs, step)) < 1e-3:
            break
    return tuple(weights)


def _root(lower: list[list[float]]) -> list[list[float]]:
    """Return the Cholesky factor L of A = L L', given the lower half of A."""
    root: list[list[float]] = []
    for i, line in enumerate(lower):
        row: list[float] = []
        for j in range(i):
            row.append((line[j] - sum(row[k] * root[j][k] for k in range(j))) / root[j][j])
        row.append((line[i] - sum(x * x for x in row)) ** 0.5)
        root.append(row)
    return root


def _solve(root: list[list[float]], right: list[float]) -> list[float]:
    """Solve L L' x = right for x."""
    width = len(right)
    found: list[float] = []
    for i in range(width):
        found.append((right[i] - sum(root[i][j] * found[j] for j in range(i))) / root[i][i])
    for i in reversed(range(width)):
        rest = found[i] - sum(root[j][i] * found[j] for j in range(i + 1, width))
        found[i] = rest / root[i][i]
    return found
