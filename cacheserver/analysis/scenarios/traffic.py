"""Conversations of a scenario as turns in order of time.

Rule: everything about a question comes from its name, so what is asked twice is the same twice.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from random import Random

from cacheserver.analysis.scenarios.arrivals import begins
from cacheserver.analysis.scenarios.scenario import Kind, Length, Scenario

_P95 = 1.6449  # standard deviations under which 95% of a normal distribution lies


@dataclass(frozen=True, slots=True)
class Question:
    """A topic in one wording."""

    topic: str
    wording: int = 0
    common: bool = False  # others ask it too


@dataclass(frozen=True, slots=True)
class Ask:
    """One turn of a conversation."""

    at: float
    kind: Kind
    number: int  # of the conversation
    questions: tuple[Question, ...]  # this one last
    common: bool  # all of them are common: the whole request may have been sent before


def asks(scenario: Scenario) -> Iterator[Ask]:
    """Yield every turn in order of time. Only open conversations are in memory."""
    numbers = _shares(scenario)
    streams = [_of_kind(scenario, kind, n) for kind, n in zip(scenario.kinds, numbers, strict=True)]
    return heapq.merge(*streams, key=lambda ask: ask.at)


def requests_of(scenario: Scenario) -> int:
    """Return how many turns `asks` yields."""
    numbers = _shares(scenario)
    return sum(n * kind.turns for n, kind in zip(numbers, scenario.kinds, strict=True))


def drawn(length: Length, random: Random) -> int:
    """Tokens, at least one."""
    if length.p95 == length.median:
        return round(length.median)
    spread = math.log(length.p95 / length.median) / _P95
    return max(1, round(length.median * math.exp(spread * random.gauss(0.0, 1.0))))


def _shares(scenario: Scenario) -> list[int]:
    """Conversations by kind; ends are rounded, so that they sum to the whole."""
    ends = [
        round(end * scenario.conversations) for end in accumulate(k.share for k in scenario.kinds)
    ]
    return [end - before for end, before in zip(ends, [0, *ends], strict=False)]


def _of_kind(scenario: Scenario, kind: Kind, number: int) -> Iterator[Ask]:
    random = Random(f"{scenario.seed}:{kind.name}")
    times = begins(kind.arrivals, number, scenario.starts_at, scenario.days, random)
    questions = _Questions(kind, random)
    waiting: list[tuple[float, int, Ask]] = []
    for talk, at in enumerate(times):
        while waiting and waiting[0][0] <= at:
            yield _turn(waiting, kind, random)
        first = questions.first(talk)
        ask = Ask(at, kind, talk, (first,), first.common)
        heapq.heappush(waiting, (at, talk, ask))
    while waiting:
        yield _turn(waiting, kind, random)


def _turn(waiting: list[tuple[float, int, Ask]], kind: Kind, random: Random) -> Ask:
    """The next turn that is due; the one after it waits in its place."""
    _, talk, ask = heapq.heappop(waiting)
    turn = len(ask.questions)
    if turn < kind.turns:
        first = ask.questions[0]
        again = first.common and turn < kind.repeats.turns
        following = Question(
            f"{first.topic}.{turn}" if again else f"u{talk}.{turn}",
            first.wording if again else 0,
            again,
        )
        at = ask.at + (random.expovariate(1 / kind.pause_s) if kind.pause_s else 0.0)
        common = ask.common and again
        later = replace(ask, at=at, questions=(*ask.questions, following), common=common)
        heapq.heappush(waiting, (at, talk, later))
    return ask


class _Questions:
    def __init__(self, kind: Kind, random: Random) -> None:
        self._repeats = kind.repeats
        self._random = random
        ranks = range(1, kind.repeats.distinct + 1)
        self._ends = list(accumulate(rank**-kind.repeats.zipf for rank in ranks))
        self._topics = range(kind.repeats.distinct)

    def first(self, talk: int) -> Question:
        """Return the first turn of a conversation."""
        draw = self._random.random()
        if draw >= self._repeats.exact + self._repeats.reworded:
            return Question(f"u{talk}")
        (topic,) = self._random.choices(self._topics, cum_weights=self._ends)
        if draw < self._repeats.exact:
            return Question(f"c{topic}", 0, True)
        return Question(f"c{topic}", talk + 1)  # nobody else words it so
