"""Where money runs out: what is asked too often, too dear or at the wrong time, and what ends it.

Each leak is worth what its lever would save by itself, so two of them may be after the same money.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cacheserver.audit.tally import Group
from cacheserver.replay.call import Call
from cacheserver.replay.step import Step
from cacheserver.types import Nanodollars

_MOST: Final = 10
_LEAST_SHARE: Final = 0.01  # of what was spent
_LEAST: Final = 100_000_000  # nanodollars a month
_MONTH_S: Final = 30 * 86_400.0
_LONG_HAIKU: Final = 100_000  # tokens, from which on every one costs five times as much (facts 5)

# What is done about each kind.
FIXES: Final = {
    "identical requests": "ask through cacheserver: exact repeats are answered within "
    "CACHESERVER_DEFAULT_TTL_S",
    "identical, too late": "raise CACHESERVER_DEFAULT_TTL_S, or the lifetime of this task, "
    "to the gap shown",
    "similar questions": "ask through cacheserver with an error target: CACHESERVER_TARGET",
    "unmarked prefix": "let cacheserver plan Claude's prompt cache: it is on by default",
    "marks nobody reads": "take the cache_control marks off, and let cacheserver plan them",
    "simple work, dear model": 'ask for "auto", or set an override in the tenant\'s routing rules',
    "work that could wait": 'send it as a batch: `when: "batch"`, or /v1/messages/batches',
    "long prompts on Haiku": "keep prompts of Haiku 5.5 under 100,000 tokens (history rules)",
}


@dataclass(frozen=True, slots=True)
class Leak:
    """One leak, in money for 30 days."""

    kind: str
    what: str  # the group it is in
    model: str
    requests: int
    month: Nanodollars
    blamed: tuple[str, ...]
    fix: str
    note: str = ""


@dataclass(slots=True)
class _Sum:
    group: Group
    saved: Nanodollars = 0
    late: float = 0.0


@dataclass(slots=True)
class Leaks:
    """Gathers leaks of every kind, by purpose, model and system prompt."""

    _sums: dict[tuple[str, ...], _Sum] = field(default_factory=dict)
    _most: int = 5_000

    def add(self, call: Call, step: Step, name: str) -> None:
        """Count one request in; `name` is its group's."""
        if step.spent is None:
            return
        for kind, saved, late in _kinds(call, step):
            key = (kind, call.purpose or "", call.model, step.root)
            found = self._sums.get(key)
            if found is None:
                if len(self._sums) >= self._most:
                    self._make_room()
                found = self._sums[key] = _Sum(Group(name, call.model))
            found.group.add(call, step)
            found.saved += saved
            found.late = max(found.late, late)

    def worst(self, spent: Nanodollars, seconds: float) -> list[Leak]:
        """The ten worst of a log of so many seconds, none of them small change."""
        scale = _MONTH_S / max(seconds, 3_600.0) if seconds < _MONTH_S else 1.0
        found = [
            Leak(
                kind=key[0],
                what=one.group.name,
                model=one.group.model,
                requests=one.group.requests,
                month=round(one.saved * scale),
                blamed=tuple(one.group.blamed),
                fix=FIXES[key[0]],
                note=f"up to {round(one.late):,} s after its end" if one.late else "",
            )
            for key, one in self._sums.items()
        ]
        least = max(round(spent * scale * _LEAST_SHARE), _LEAST)
        found = [leak for leak in found if leak.month >= least]
        return sorted(found, key=lambda leak: (-leak.month, leak.kind, leak.what))[:_MOST]

    def _make_room(self) -> None:
        ranked = sorted(self._sums, key=lambda key: self._sums[key].saved)
        for key in ranked[: len(ranked) // 2]:
            del self._sums[key]


def _kinds(call: Call, step: Step) -> list[tuple[str, Nanodollars, float]]:
    """What a request leaks, each with the money and how late it came."""
    found: list[tuple[str, Nanodollars, float]] = []
    spent, alone = step.spent or 0, step.alone
    if step.kind == "exact":
        found.append(("identical requests", alone.get("exact", 0), 0.0))
    if step.kind == "semantic":
        found.append(("similar questions", alone.get("semantic", 0), 0.0))
    if step.late is not None:
        found.append(("identical, too late", spent, step.late))
    if alone.get("prompt-caching"):
        found.append(("unmarked prefix", alone["prompt-caching"], 0.0))
    if step.plan == "caller-marked":
        found.append(("marks nobody reads", _premium(call, spent), 0.0))
    if alone.get("routing") and step.route is not None and step.route.model != call.model:
        found.append(("simple work, dear model", alone["routing"], 0.0))
    if alone.get("batch"):
        found.append(("work that could wait", alone["batch"], 0.0))
    if call.model.startswith("claude-haiku-5-5") and _prompt(call) > _LONG_HAIKU:
        found.append(("long prompts on Haiku", spent - spent // 5, 0.0))
    return found


def _premium(call: Call, spent: Nanodollars) -> Nanodollars:
    """What marks cost over plain input: a share of the bill, negative where they were read.

    In plain input tokens: a write costs a quarter or the whole more, a read at most a tenth.
    """
    usage = call.usage
    more = usage.cache_write_5m_tokens * 0.25 + usage.cache_write_1h_tokens * 1.0
    less = usage.cache_read_tokens * 0.9
    plain = (
        usage.input_tokens
        + usage.cache_write_5m_tokens * 1.25
        + usage.cache_write_1h_tokens * 2
        + usage.cache_read_tokens * 0.1
        + usage.output_tokens * 5
    )
    return round(spent * (more - less) / plain) if plain else 0


def _prompt(call: Call) -> int:
    usage = call.usage
    return (
        usage.input_tokens
        + usage.cache_write_5m_tokens
        + usage.cache_write_1h_tokens
        + usage.cache_read_tokens
    )
