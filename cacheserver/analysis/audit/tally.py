"""Totals of a replay in one pass: spending, and savings by lever and by group.

Bounded whatever the log: of groups the dearest are kept (`TopK`), what the others had is counted
under `other`, and all of them sum to the whole.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from cacheserver.analysis.audit.daily import Daily, Month, day_of
from cacheserver.analysis.audit.systems import Systems
from cacheserver.analysis.audit.top_k import TopK
from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.step import LEVERS, Step
from cacheserver.analysis.replay.verification import VerificationTotals
from cacheserver.core.messages.attribution import prompt_of
from cacheserver.core.types import Nanodollars
from cacheserver.matching.conformal_bound import wilson

_GROUPS: Final = 1_000
OTHER: Final = "other"
_NAME: Final = 60  # characters of a system prompt that name its group


@dataclass(slots=True)
class Group:
    """Requests with the same purpose, model and system prompt."""

    name: str
    model: str = ""
    requests: int = 0
    spent: Nanodollars = 0
    alone: Counter[str] = field(default_factory=Counter)
    together: Counter[str] = field(default_factory=Counter)

    def add(self, step: Step) -> None:
        self.requests += 1
        self.spent += step.spent or 0
        self.alone.update(step.alone)
        self.together.update(step.together)

    def take(self, other: Group) -> None:
        """Add another group's sums."""
        self.requests += other.requests
        self.spent += other.spent
        self.alone.update(other.alone)
        self.together.update(other.together)


class Groups:
    """The most expensive groups by key."""

    def __init__(self, most: int = _GROUPS) -> None:
        self._other = Group(OTHER)
        self._groups: TopK[tuple[str, ...], Group] = TopK(most, _spent, self._other.take)

    def of(self, key: tuple[str, ...], name: str, model: str = "") -> Group:
        """Return the group of a key; create a new one."""
        return self._groups.of(key, lambda: Group(name, model))

    def dearest(self, most: int | None = None) -> list[Group]:
        """Return the most expensive groups, then the rest as one group."""
        found = [group for _, group in self._groups]
        other = Group(OTHER)
        other.take(self._other)
        for group in found[most:] if most is not None else ():
            other.take(group)
        return [*found[:most], other] if other.requests else found[:most]


def _spent(group: Group) -> Nanodollars:
    return group.spent


@dataclass(slots=True)
class WrongHits:
    """Semantic hits of a replay whose logged answer differs, with their share."""

    hits: int = 0
    compared: int = 0
    wrong: int = 0
    stood_for: float = 0.0  # hits that those compared stand for
    wrong_for: float = 0.0
    squares: float = 0.0

    def add(self, step: Step) -> None:
        self.hits += 1
        if step.right is None:
            return
        self.compared += 1
        self.wrong += not step.right
        self.stood_for += step.stands_for
        self.wrong_for += step.stands_for * (not step.right)
        self.squares += step.stands_for**2

    @property
    def share(self) -> float | None:
        """The share of wrong hits; None if none was compared."""
        return self.wrong_for / self.stood_for if self.compared else None

    @property
    def interval(self) -> tuple[float, float]:
        """95%, by Wilson; heavy comparisons stand for many and know of one."""
        if not self.compared:
            return 0.0, 1.0
        effective = self.stood_for**2 / self.squares
        return wilson((self.share or 0.0) * effective, effective)


# Tokens a character of a marked prefix over those of the rest of its prompt. An assumption, which
# the report names: there is no tokenizer of Claude's to be had offline.
_DENSITIES: Final = (3 / 4, 4 / 3)

# Of the classifier's test prompts that go to a tier, those that ask no more than it gives
# (docs/routing.md; a test counts them again).
ROUTED_RIGHT: Final[Mapping[str, tuple[int, int]]] = {"low": (183, 194), "middle": (234, 268)}


@dataclass(slots=True)
class Routed:
    """Savings of routing by target tier; tiers differ in how often routing is right."""

    alone: Counter[str] = field(default_factory=Counter)
    together: Counter[str] = field(default_factory=Counter)

    def add(self, step: Step) -> None:
        if step.route is not None:
            tier = step.route.tier or ""
            self.alone[tier] += step.alone.get("routing", 0)
            self.together[tier] += step.together.get("routing", 0)


@dataclass(slots=True)
class Marked:
    """Savings of our marks if the prefix has more or fewer tokens a character than the rest.

    What was billed is the whole prompt; how much of it is marked is estimated from characters.
    """

    alone: list[Nanodollars] = field(default_factory=lambda: [0, 0])  # the least, the most
    together: list[Nanodollars] = field(default_factory=lambda: [0, 0])

    def add(self, step: Step) -> None:
        for ends, parts in ((self.alone, step.alone), (self.together, step.together)):
            if part := parts.get("prompt-caching"):
                factors = sorted(part * _denser(step.marked, ratio) for ratio in _DENSITIES)
                ends[0] += round(factors[0])
                ends[1] += round(factors[1])


def _denser(share: float, ratio: float) -> float:
    """Return a share of tokens if its characters have `ratio` times as many tokens each."""
    return ratio / (share * ratio + 1 - share)


def _routed_interval(saved: Mapping[str, Nanodollars]) -> tuple[Nanodollars, Nanodollars]:
    """95% by Wilson; a request on too small a model is asked again, so it saves nothing."""
    least = most = 0
    for tier, amount in saved.items():
        low, high = wilson(*ROUTED_RIGHT[tier]) if tier in ROUTED_RIGHT else (1.0, 1.0)
        ends = sorted((round(amount * low), round(amount * high)))
        least, most = least + ends[0], most + ends[1]
    return least, most


@dataclass(slots=True)
class Tally:
    """Totals of a log."""

    whole: Group = field(default_factory=lambda: Group("all"))
    by_model: Groups = field(default_factory=lambda: Groups(200))
    by_day: Groups = field(default_factory=lambda: Groups(4_000))
    groups: Groups = field(default_factory=Groups)
    tokens: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: WrongHits = field(default_factory=WrongHits)
    verified: VerificationTotals = field(default_factory=VerificationTotals)
    routed: Routed = field(default_factory=Routed)
    marked: Marked = field(default_factory=Marked)
    unpriced: Counter[str] = field(default_factory=Counter)
    systems: Systems = field(default_factory=Systems)
    estimated: Nanodollars = 0  # of what was spent, that rests on characters
    logged_cost: Nanodollars = 0  # what the log itself says was spent...
    priced_cost: Nanodollars = 0  # ...and what we make of the same requests
    no_prompt: Nanodollars = 0  # spent on requests of which nothing more is known
    first: float | None = None  # when the first priced request came
    daily: defaultdict[str, Daily] = field(default_factory=lambda: defaultdict(Daily))

    def add(self, call: Call, step: Step) -> str:
        """Add a request. Returns the name of its group."""
        self.reasons[step.reason] += 1
        name = call.purpose or _system(call.body)
        if step.spent is None:
            self.unpriced[call.model] += 1
            return name
        self.whole.add(step)
        self.first = call.at if self.first is None else self.first
        self._daily(day_of(call.at, self.first), step)
        self.by_model.of((call.model,), call.model).add(step)
        day = datetime.fromtimestamp(call.at, UTC).date().isoformat()
        self.by_day.of((day,), day).add(step)
        group = self.systems.group(step.root, call.body, call.model)
        key = (call.purpose or "", call.model, group)
        self.groups.of(key, name, call.model).add(step)
        for kind, tokens in _tokens(call).items():
            self.tokens[kind] += tokens
        self.kinds[step.kind or "asked"] += 1
        if step.kind == "semantic":
            self.wrong.add(step)
        self.verified.add(step)
        self.routed.add(step)
        self.marked.add(step)
        self.estimated += step.spent if call.estimated else 0
        self.no_prompt += step.spent if step.reason == "no-prompt" else 0
        if call.cost is not None:
            self.logged_cost += call.cost
            self.priced_cost += step.spent
        return name

    def _daily(self, day: int, step: Step) -> None:
        daily = self.daily
        daily["spent"].add(day, step.spent or 0)
        for which, parts in (("alone", step.alone), ("together", step.together)):
            for lever, part in parts.items():
                daily[f"{which} {lever}"].add(day, part)
        if step.together:
            daily["saved"].add(day, sum(step.together.values()))

    def month(self, name: str, seconds: float) -> Month | None:
        """Project "spent", "saved" or a lever, as "alone exact", to 30 days."""
        return self.daily[name].month(seconds)

    @property
    def saved(self) -> Nanodollars:
        """The saving of all levers together."""
        return sum(self.whole.together.values())

    def semantic_interval(self, wrong_hit: Nanodollars = 0) -> tuple[Nanodollars, Nanodollars]:
        """Return the 95% interval of the semantic tier's saving.

        A wrong answer saves nothing, and costs `wrong_hit` besides.
        """
        saved, hits = self.whole.together["semantic"], self.wrong.hits
        low, high = self.wrong.interval
        return (
            round(saved * (1 - high)) - round(hits * high * wrong_hit),
            round(saved * (1 - low)) - round(hits * low * wrong_hit),
        )

    def routing_interval(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the 95% interval of routing's saving: alone, and together with the others."""
        return _routed_interval(self.routed.alone), _routed_interval(self.routed.together)

    def parts(self) -> Mapping[str, tuple[Nanodollars, Nanodollars]]:
        """Return by lever the saving alone and its part of all."""
        return {lever: (self.whole.alone[lever], self.whole.together[lever]) for lever in LEVERS}


def _tokens(call: Call) -> Mapping[str, int]:
    usage = call.usage
    return {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cache_write_5m": usage.cache_write_5m_tokens,
        "cache_write_1h": usage.cache_write_1h_tokens,
        "cache_read": usage.cache_read_tokens,
    }


def _system(body: Mapping[str, Any] | None) -> str:
    """A group's name where the log gives none: the beginning of its system prompt."""
    if body is None:
        return "no prompt logged"
    system = prompt_of(body)
    if isinstance(system, list):
        texts = [b.get("text") for b in system if isinstance(b, Mapping)]
        system = " ".join(text for text in texts if isinstance(text, str))
    if not isinstance(system, str) or not system.strip():
        return "no system prompt"
    return " ".join(re.split(r"[ \t\r\n]+", system[: 4 * _NAME].strip()))[:_NAME]
