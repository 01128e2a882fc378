"""Scopes under traffic, made of neighbour lists: what is asked, how it lies, what was right.

Everything is decided by `judge` and learned as the service learns it: where it is wanted, and
fitted when that is due.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random

from cacheserver.calibration import label_intake
from cacheserver.english.language import english
from cacheserver.matching import calibration, conformal_bound
from cacheserver.matching.calibration import Calibration, Label
from cacheserver.matching.conformal_bound import Bar
from cacheserver.matching.decision import ScoredCandidate, Verdict, judge
from cacheserver.matching.language import ALL_VETOES
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.profile import Profile

ENGLISH = english()
ASKED = "How do I reset the password of my router?"
STORED = "How can I reset my router's password?"  # no veto refuses it, and it is no twin
TARGETS = (0.005, 0.01, 0.02, 0.05, 0.1)


@cache
def profile(text: str) -> Profile:
    return ENGLISH.profile(text)


@dataclass(frozen=True, slots=True)
class Question:
    """A question as its scope sees it."""

    neighbours: tuple[Neighbour, ...]  # nearest first
    right: bool  # the nearest one's answer serves
    caller: str = ""


def around(
    cosines: Iterable[float], groups: Sequence[str], *, text: str = STORED
) -> tuple[Neighbour, ...]:
    """Neighbours at `cosines`, the first of `groups` to the nearest."""
    ranked = sorted(cosines, reverse=True)
    return tuple(
        Neighbour(f"{group}-{place}", cosine, group, profile(text))
        for place, (cosine, group) in enumerate(zip(ranked, groups, strict=True))
    )


def repeat(rng: Random, caller: str = "") -> Question:
    """One whose answer is stored: five near ones agree, others lie apart."""
    group, near = f"g{rng.randrange(20)}", rng.gauss(0.9, 0.03)
    cosines = [*(near - abs(rng.gauss(0, 0.03)) for _ in range(5)), *(near - 0.3,) * 5]
    return Question(around(cosines, [group] * 5 + ["other"] * 5), True, caller)


def novel(rng: Random, caller: str = "") -> Question:
    """One of the scope's own kind whose answer is not stored: near ones disagree."""
    near = rng.gauss(0.72, 0.04)
    cosines = [near - place * 0.01 for place in range(10)]
    return Question(around(cosines, [f"g{rng.randrange(20)}" for _ in cosines]), False, caller)


def foreign(rng: Random, group: str = "g1") -> Question:
    """One about something else: its neighbours agree as if they were right, and lie further."""
    far = rng.uniform(0.05, 0.8)
    cosines = [*(far - abs(rng.gauss(0, 0.02)) for _ in range(5)), *(far - 0.3,) * 5]
    return Question(around(cosines, [group] * 5 + ["other"] * 5), False)


@dataclass(slots=True)
class Scope:
    """One scope's calibration, and its bar."""

    target: float = 0.01
    state: Calibration = field(default_factory=Calibration)

    @property
    def bar(self) -> Bar:
        return conformal_bound.bar_for(self.state, self.target)

    def verdict(self, question: Question, bar: Bar) -> Verdict:
        asked = profile(ASKED)
        return judge(
            asked, question.neighbours, self.state, bar, language=ENGLISH, enabled=ALL_VETOES
        )

    def decisions(self, questions: Sequence[Question]) -> list[bool]:
        bar = self.bar
        return [self.verdict(one, bar).serve is not None for one in questions]

    def nearest(self, question: Question) -> ScoredCandidate:
        """Judge the nearest neighbour, whatever the bar."""
        judged = self.verdict(question, conformal_bound.UNREACHED).candidates
        return next(one for one in judged if one.id == question.neighbours[0].id)

    def label(self, question: Question, *, served: bool = False, weight: float = 1.0) -> Label:
        found = self.nearest(question).evidence
        assert found is not None
        return Label(
            evidence=found,
            right=question.right,
            weight=weight,
            source="audit" if served else "miss",
            served=served,
            embedder="e",
            caller=question.caller,
        )

    def learn(self, label: Label) -> bool:
        """Learn a label as the service does; whether it was wanted."""
        if not label_intake.wanted(self.state, label):
            return False
        self.state = calibration.learn(self.state, label)
        if self.state.refit_due:
            self.state = calibration.refit(self.state)
        return True


@cache
def _honest() -> Calibration:
    rng, scope = Random(7), Scope()
    for at in range(500):
        caller = f"c{at % 10}"
        scope.learn(scope.label(repeat(rng, caller) if rng.random() < 0.7 else novel(rng, caller)))
    return calibration.refit(scope.state)


def honest(target: float = 0.01) -> Scope:
    """A scope that ten callers taught: repeats and novel questions, labelled by the truth."""
    return Scope(target, replace(_honest()))
