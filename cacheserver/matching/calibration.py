"""A scope's own probability that a stored answer serves: the shipped prior, bent by its labels.

A logistic over the evidence, fitted to a rolling window of labels and held towards the prior, and
offsets for answer groups and entries. A frozen value: `learn` and `refit` give a new one;
`refit` is meant for off the request path. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import exp, inf, log
from typing import Literal, TypeAlias

from cacheserver.matching.neighbours import Evidence
from cacheserver.matching.offsets import Offsets, WeightedOutcome, gather

Source: TypeAlias = Literal["miss", "audit", "feedback", "admin"]

WINDOW = 2_000  # labels of a fit; more slow it down and tell of traffic long gone
# A scope that knows this many labels moves in steps of as many: between two nothing that comes in
# changes weights, level or support, whoever sends it.
STEP = 1_000
KEPT = WINDOW + STEP  # labels, so that those of the last fit are at hand until the next
LEAST = 100  # labels before a scope's own count
EVERY = 100  # labels between two refits at most before the first step, and two reviews after it
_POWER = (
    0.5  # of a label's weight in the fit: 1 drowns in few heavy audits, 0 forgets whom it serves
)
_RIDGE = 1.0  # how strongly weights are held to the prior, in labels
_STEPS = 12  # of Newton; 4 suffice from a warm start
_FOIL = 0.25  # labels that a foil counts for in the fit
_FAR = 30.0  # log odds beyond are the same certainty

NAMES = (
    *("bias", "low", "high", "margin", "share", "pull", "second", "crowd", "prior"),
    *("prior alone", "twin"),
)
# Signs are knowledge: whatever labels suggest, a probability never falls when only the cosine
# rises. Labels seen at 0.7 to 0.95 alone once gave 0.999 at a cosine of 0.05.
_EITHER_WAY = frozenset(("bias", "second"))
_LEAST = tuple(-inf if name in _EITHER_WAY else 0.0 for name in NAMES)
# What neighbours usually tell: rounded from a fit to streams of our own templated questions, with
# less trust in the cosine and more in the words than on those templates; the crowd and the cosine's
# two slopes were set by hand. A candidate without company is told by the prior alone.
START = (-1.5, 1.5, 1.0, 0.8, 0.8, 2.0, 0.6, 0.5, 0.3, 1.0, 2.0)
_COMPANY = 5  # neighbours from which on they are evidence


@dataclass(frozen=True, slots=True)
class Label:
    """What became known of one decision."""

    evidence: Evidence
    right: bool  # one answer served both
    weight: float  # 1 / the chance that this label would be taken
    source: Source
    served: bool  # a hit; else a miss that only might have been one
    embedder: str
    adjustment: float = 0.0  # log odds that the entry's own labels added to the decision
    foil: Evidence | None = None  # for the best of another answer: how a wrong hit would look
    caller: str = ""  # whose question it was, hashed; "": not known
    at: float = 0.0  # when it was learned, Unix seconds


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a scope has learned."""

    weights: tuple[float, ...] = START
    labels: tuple[Label, ...] = ()  # oldest first
    fresh: int = 0  # labels since the last fit
    offsets: Offsets = field(default_factory=Offsets)  # of groups and entries, as of the last fit

    @property
    def due(self) -> bool:
        """True if a refit is due: often while little is known, then by steps."""
        return self.fresh >= self.step

    @property
    def step(self) -> int:
        """The number of fresh labels with which a refit is due."""
        if len(self.labels) - self.fresh >= STEP:
            return STEP
        return max(10, min(EVERY, len(self.labels) // 10))

    @property
    def drawn(self) -> tuple[Label, ...]:
        """The fitted labels that were drawn: who calls an answer wrong chooses what they tell of.

        Feedback tells of its own answer and group (`offsets`), never of a scope.
        """
        return tuple(label for label in self.fitted if label.source != "feedback")

    @property
    def reviewed(self) -> bool:
        """True if groups, and what is shut, are to be reviewed without a fit."""
        return self.fresh % EVERY == 0

    @property
    def fitted(self) -> tuple[Label, ...]:
        """The labels of the last fit."""
        return self.labels[: len(self.labels) - self.fresh][-WINDOW:]

    @property
    def young(self) -> bool:
        """Whether the prior still speaks for the scope."""
        return len(self.labels) - self.fresh < LEAST


def terms(evidence: Evidence) -> tuple[float, ...]:
    """The terms of the logistic, each of the order of 1, in the order of `NAMES`."""
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
    """That the candidate's answer serves; `adjustment` is log odds of its own."""
    return expit(_logit(state, evidence) + state.offsets.of(evidence) + adjustment)


def learn(state: Calibration, label: Label) -> Calibration:
    """The state with one label more; its weights change with the next `refit`."""
    kept = state.labels[1 - KEPT :] if len(state.labels) >= KEPT else state.labels
    return replace(state, labels=(*kept, label), fresh=state.fresh + 1)


def refit(state: Calibration) -> Calibration:
    """The state with weights and groups fitted to its window: 35 ms of CPU for 2,000 labels."""
    state = replace(state, fresh=0)
    window = state.drawn
    rows = [terms(label.evidence) for label in window]
    right = [float(label.right) for label in window]
    foils = [terms(label.foil) for label in window if label.foil is not None]
    fitted = _newton(
        [*rows, *foils],
        [*right, *[0.0] * len(foils)],
        [*_counts(window, _scale(window)), *[_FOIL] * len(foils)],
        state.weights,
    )
    return grouped(replace(state, weights=fitted))


def grouped(state: Calibration) -> Calibration:
    """The state with what its newest labels say of groups and entries beyond what weights say.

    It moves nothing but the probabilities of these groups, so it need not wait for a step.
    """
    return replace(state, offsets=gather(_shown(state)))


def left_out(state: Calibration) -> list[float]:
    """Return each drawn label's probability as it was told when it was decided.

    By the fit itself each wrong hit looks less likely than it was. Nor is it enough to leave each
    label out of today's fit: what was missed then and would be served now is wrong more often than
    its probability of today says; by it BANKING77 served 38% instead of 47% at a target of 1%.
    """
    return [
        probability(state, label.evidence, label.adjustment)
        if label.evidence.told is None  # of an older version
        else label.evidence.told
        for label in state.drawn
    ]


def _shown(state: Calibration) -> list[WeightedOutcome]:
    # Those of the fit stay until the next one, or new labels of some groups would tell of others.
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
    """The share of their weight that labels count for: heavy ones tell of many, know of one."""
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
    """Weights that minimise the weighted log loss and the distance to the prior's.

    None falls below `_LEAST`: a step that would push one there holds it (Bertsekas' projected
    Newton method, SIAM J. Control 20, 1982).
    """
    width = len(start)
    weights, step = list(start), [0.0] * width
    before = inf
    for _ in range(_STEPS):
        slope = [_RIDGE * (w - s) for w, s in zip(weights, START, strict=True)]
        bend = [[_RIDGE * (i == j) for j in range(i + 1)] for i in range(width)]
        loss = sum((w - s) ** 2 for w, s in zip(weights, START, strict=True)) * _RIDGE / 2
        for row, y, count in zip(rows, wanted, counts, strict=True):
            told = expit(sum([w * x for w, x in zip(weights, row, strict=True)]))
            loss -= count * log(told if y else 1 - told)
            pull, stiff = count * (told - y), count * told * (1 - told)
            for i, x in enumerate(row):
                slope[i] += pull * x
                if stiff > 1e-6:
                    heavy, line = stiff * x, bend[i]
                    for j in range(i + 1):
                        line[j] += heavy * row[j]
        if loss > before + 1e-6:  # too far: where all is certain, a full step leaps
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
    """L of A = L L'; A is symmetric and positive, its lower half given (Cholesky)."""
    root: list[list[float]] = []
    for i, line in enumerate(lower):
        row: list[float] = []
        for j in range(i):
            row.append((line[j] - sum(row[k] * root[j][k] for k in range(j))) / root[j][j])
        row.append((line[i] - sum(x * x for x in row)) ** 0.5)
        root.append(row)
    return root


def _solve(root: list[list[float]], right: list[float]) -> list[float]:
    """x of L L' x = right."""
    width = len(right)
    found: list[float] = []
    for i in range(width):
        found.append((right[i] - sum(root[i][j] * found[j] for j in range(i))) / root[i][i])
    for i in reversed(range(width)):
        rest = found[i] - sum(root[j][i] * found[j] for j in range(i + 1, width))
        found[i] = rest / root[i][i]
    return found
