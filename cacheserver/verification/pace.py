"""Pace of a tenant: how long answers and verifications take, and how often questions repeat.

Running means in memory: a new process starts with the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_SHARE = 0.05  # of a running mean, that one more value has
_MOST_TENANTS = 1_000
_MOST_MODELS = 100  # names that callers choose
_CALL_S = 0.8  # a verification, before one was timed: some tokens of the fastest model
_ANSWER_S = 3.0  # an answer of some hundred tokens
_FREE = 0.3  # share of free requests of a cache that has just begun
_RECOVERY = 0.01  # of the distance to the default, for each verification that is too slow to try


@dataclass(slots=True)
class Pace:
    """Running means of one tenant."""

    call_s: float = _CALL_S
    answer_s: dict[str, float] = field(default_factory=dict)  # by the model asked
    free: float = _FREE  # share of the requests that cost nothing

    @property
    def repeats(self) -> float:
        """Return how many requests follow a question that was answered, without a cost."""
        return self.free / max(0.05, 1 - self.free)

    def answer(self, model: str) -> float:
        """Return the seconds that an answer of `model` takes."""
        return self.answer_s.get(model, _ANSWER_S)

    def note_call(self, seconds: float) -> None:
        self.call_s += _SHARE * (seconds - self.call_s)

    def note_untried(self) -> None:
        """Let a call that was slow be tried again some time: untried, it is never timed."""
        self.call_s += _RECOVERY * min(0.0, _CALL_S - self.call_s)

    def note_answer(self, model: str, seconds: float) -> None:
        before = self.answer(model)
        if len(self.answer_s) >= _MOST_MODELS and model not in self.answer_s:
            self.answer_s.clear()
        self.answer_s[model] = before + _SHARE * (seconds - before)

    def note_request(self, *, free: bool) -> None:
        self.free += _SHARE * (free - self.free)


class Paces:
    """The pace of each tenant; the least recently used is forgotten beyond some number."""

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}

    def of(self, tenant: str) -> Pace:
        pace = self._paces.pop(tenant, None) or Pace()
        self._paces[tenant] = pace
        if len(self._paces) > _MOST_TENANTS:
            del self._paces[next(iter(self._paces))]
        return pace
