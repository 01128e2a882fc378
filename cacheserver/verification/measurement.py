"""Measured error rates of a verifying model: counts, intervals and time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from cacheserver.core.terminal.counts import counted
from cacheserver.core.types import Nanodollars
from cacheserver.matching.conformal_bound import wilson

# `long`: the server would not ask, for the call is longer than `CACHESERVER_VERIFY_MAX_TOKENS`.
Verdict: TypeAlias = Literal["yes", "no", "failed", "long"]

_LEAST_RATE = 0.001  # that a setting states: no sample proves that a model never errs
_SENSITIVITY, _FALSE_YES = "CACHESERVER_VERIFY_SENSITIVITY", "CACHESERVER_VERIFY_FALSE_YES"


@dataclass(frozen=True, slots=True)
class Measured:
    """The verdict on one pair. `serves` is its label."""

    serves: bool
    group: str
    verdict: Verdict
    seconds: float | None = None  # of a call that was answered at the first try
    cost: Nanodollars = 0


@dataclass(frozen=True, slots=True)
class Share:
    """A share with Wilson's 95% interval; None of its parts if nothing was counted."""

    part: int
    whole: int

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.part, self.whole)

    def as_json(self) -> dict[str, Any]:
        low, high = self.interval
        share = round(self.part / self.whole, 6) if self.whole else None
        return {"share": share, "low": round(low, 6), "high": round(high, 6), "of": self.whole}

    def __str__(self) -> str:
        if not self.whole:
            return "no pairs"
        low, high = self.interval
        return f"{self.part / self.whole:.1%} ({low:.1%} to {high:.1%}) of {self.whole:,}"


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of some pairs."""

    pairs: int
    sensitivity: Share  # yes, of the answers that serve
    false_yes: Share  # yes, of those that do not
    failed: int
    long: int
    seconds: Sequence[float]  # sorted
    cost: Nanodollars

    @property
    def answered(self) -> int:
        return self.sensitivity.whole + self.false_yes.whole

    def as_json(self) -> dict[str, Any]:
        return {
            "pairs": self.pairs,
            "sensitivity": self.sensitivity.as_json(),
            "false_yes": self.false_yes.as_json(),
            "failed": self.failed,
            "too_long": self.long,
            "seconds": {"p50": self._second(0.5), "p95": self._second(0.95)},
            "cost_usd": self.cost / 1e9,
            "cost_usd_per_call": self.cost / 1e9 / self.answered if self.answered else None,
        }

    def _second(self, share: float) -> float | None:
        return round(quantile(self.seconds, share), 4) if self.seconds else None


def figures(measured: Sequence[Measured]) -> Figures:
    """Return the figures of these pairs."""
    yes = [one for one in measured if one.verdict == "yes"]
    answered = [one for one in measured if one.verdict in ("yes", "no")]
    serving = sum(one.serves for one in answered)
    right = sum(one.serves for one in yes)
    return Figures(
        len(measured),
        Share(right, serving),
        Share(len(yes) - right, len(answered) - serving),
        sum(one.verdict == "failed" for one in measured),
        sum(one.verdict == "long" for one in measured),
        sorted(one.seconds for one in measured if one.seconds is not None),
        sum(one.cost for one in measured),
    )


def by_group(measured: Sequence[Measured]) -> dict[str, Figures]:
    """Return the figures of each group, by name; none if no pair names one."""
    names = sorted({one.group for one in measured})
    if names == [""]:
        return {}
    return {name: figures([one for one in measured if one.group == name]) for name in names}


def quantile(values: Sequence[float], share: float) -> float:
    """Return the least of the sorted `values` that this share of them does not exceed."""
    return values[min(len(values) - 1, max(0, -int(-share * len(values) // 1) - 1))]


def settings(whole: Figures) -> dict[str, str]:
    """Return the settings that state the rates, at the unfavourable end of each interval."""
    found = {}
    if whole.sensitivity.whole:
        low = max(_LEAST_RATE, whole.sensitivity.interval[0])
        found[_SENSITIVITY] = f"{int(low * 1_000) / 1_000:.3f}"
    if whole.false_yes.whole:
        high = max(_LEAST_RATE, whole.false_yes.interval[1])
        found[_FALSE_YES] = f"{-int(-high * 1_000 // 1) / 1_000:.3f}"
    return found


def lines(
    model: str, whole: Figures, groups: Mapping[str, Figures], *, simulated: bool
) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"{model}, {whole.answered:,} of {counted(whole.pairs, 'pair')} answered"
    if simulated:
        yield "A simulated model: these figures say nothing of Claude."
    if whole.failed:
        yield f"{counted(whole.failed, 'call')} failed: not in any rate"
    if whole.long:
        yield (
            f"{counted(whole.long, 'pair')} longer than CACHESERVER_VERIFY_MAX_TOKENS: the server "
            "would not ask"
        )
    yield ""
    yield from _figures(whole)
    for name, one in groups.items():
        yield ""
        yield f"{name or '(none)'}"
        yield from _figures(one, indent="  ")
    yield ""
    stated = settings(whole)
    for variable, value in stated.items():
        yield f"{variable}={value}"
    if len(stated) < 2:
        missing = "that serve" if _SENSITIVITY not in stated else "that do not serve"
        yield f"No rate can be stated without pairs {missing}."


def _figures(one: Figures, *, indent: str = "") -> Iterator[str]:
    yield f"{indent}sensitivity  {one.sensitivity}"
    yield f"{indent}false yes    {one.false_yes}"
    if one.seconds:
        p50, p95 = quantile(one.seconds, 0.5), quantile(one.seconds, 0.95)
        yield f"{indent}latency      p50 {p50:.3f} s, p95 {p95:.3f} s"
    if one.answered:
        each = one.cost / 1e9 / one.answered
        yield f"{indent}cost         ${each:.6f} a call, ${one.cost / 1e9:.4f} in all"
