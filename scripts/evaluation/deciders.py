"""Ours and the other ways to decide, stepped through the same requests in any order."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Protocol

from scripts.evaluation import baselines
from scripts.evaluation.stream import Outcome, Replay, Settings, Traffic

Maker = Callable[[Traffic, int], "Decider"]  # of a traffic and a seed


class Decider(Protocol):
    """Cache under evaluation."""

    @property
    def outcome(self) -> Outcome:
        """The outcome of each request asked so far."""

    def peek(self, at: int) -> int | None:
        """The entry whose answer serves request `at`; changes nothing."""

    def ask(self, at: int) -> None:
        """Decide on request `at`, and store or learn."""


class Ours:
    """The serving decision."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay

    @property
    def outcome(self) -> Outcome:
        return self.replay.outcome

    def peek(self, at: int) -> int | None:
        return self.replay.served(at)

    def ask(self, at: int) -> None:
        self.replay.ask(at)


def ours(settings: Settings) -> Maker:
    return lambda traffic, seed: Ours(Replay(traffic, settings, seed))


def others(target: float, *, quick: bool) -> dict[str, Maker]:
    """Plain thresholds, the defaults of GPTCache and RedisVL, and vCache."""
    plain: tuple[float, ...] = baselines.PLAIN[2:3] if quick else baselines.PLAIN
    made = {baselines.named(at): _threshold(at) for at in plain}
    made[f"GPTCache {baselines.GPTCACHE:.2f}"] = _threshold(baselines.GPTCACHE)
    made[f"vCache {target:.0%}"] = lambda traffic, seed: baselines.VCache(traffic, target, seed)
    return made


def fork(decider: Decider, traffic: Traffic) -> Decider:
    """A copy that goes its own way from here; `traffic` is shared."""
    shared = (traffic, traffic.vectors, traffic.questions)
    return copy.deepcopy(decider, {id(one): one for one in shared})


def _threshold(at: float) -> Maker:
    return lambda traffic, _: baselines.Threshold(traffic, at)
