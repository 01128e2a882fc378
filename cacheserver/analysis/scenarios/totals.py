"""Totals of a run in whole nanodollars."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cacheserver.analysis.replay.step import LEVERS, Step
from cacheserver.analysis.replay.verification import VerificationTotals
from cacheserver.core.types import Nanodollars


@dataclass(slots=True)
class Totals:
    """spent = left + sum(together.values()); `unpriced` requests are in no amount."""

    requests: int = 0
    conversations: int = 0
    unpriced: int = 0
    spent: Nanodollars = 0
    alone: dict[str, Nanodollars] = field(default_factory=lambda: dict.fromkeys(LEVERS, 0))
    together: dict[str, Nanodollars] = field(default_factory=lambda: dict.fromkeys(LEVERS, 0))
    hits: Counter[str] = field(default_factory=Counter)  # exact, semantic
    wrong: float = 0.0  # hits that gave another question's answer
    batched: int = 0
    verified: VerificationTotals = field(default_factory=VerificationTotals)  # an estimate
    models: Counter[str] = field(default_factory=Counter)  # by which Claude would be asked

    @property
    def left(self) -> Nanodollars:
        """The cost with all levers on."""
        return self.spent - sum(self.together.values())

    def add(self, model: str, step: Step, *, begins: bool) -> None:
        """Count one request; `begins`: it is the first of its conversation."""
        self.requests += 1
        self.conversations += begins
        if step.spent is None:
            self.unpriced += 1
            return
        self.spent += step.spent
        for lever, part in step.alone.items():
            self.alone[lever] += part
        for lever, part in step.together.items():
            self.together[lever] += part
        if step.kind is not None:
            self.hits[step.kind] += 1
            self.wrong += step.stands_for if step.right is False else 0.0
            return
        self.verified.add(step)
        self.batched += step.batched
        self.models[model if step.route is None else step.route.model] += 1

    def take(self, other: Totals) -> None:
        """Add other totals."""
        self.requests += other.requests
        self.conversations += other.conversations
        self.unpriced += other.unpriced
        self.spent += other.spent
        for lever in LEVERS:
            self.alone[lever] += other.alone[lever]
            self.together[lever] += other.together[lever]
        self.hits.update(other.hits)
        self.wrong += other.wrong
        self.verified.take(other.verified)
        self.batched += other.batched
        self.models.update(other.models)

    def as_json(self) -> dict[str, Any]:
        """Return all totals in nanodollars."""
        counted = {"hits": dict(self.hits), "models": dict(self.models)}
        plain = replace(self, hits=Counter(), models=Counter())
        return {**asdict(plain), **counted, "left": self.left}
