"""Rules for `max_tokens`: the caller's value, else a cap by task and learned lengths. Pure.

Rule: a cap stops a runaway answer; it does not shorten answers. A cut answer is paid for and
useless, so a cap is generous, and grows as soon as it has cut one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cacheserver.core.rules.lengths import LengthRules
from cacheserver.core.types import MAX_TOKENS, Cap

# Visible tokens by task before anything is learned: a class name, a
# paragraph, a page. Everything else has the rules' default.
BY_TASK: Final[Mapping[str, int]] = {"classification": 10, "summarisation": 150, "analysis": 1_024}

# A histogram's buckets grow by a quarter: 60 of them reach a million tokens.
_GROWTH: Final = 1.25
_ENOUGH: Final = 50  # answers before a length counts as learned: 1% of them is then half an answer
_LONGER: Final = 20  # answers longer than a cap, for a mean to be reported in money
_SHARE: Final = 0.99
_MARGIN: Final = 2.0  # over the 99th percentile; tails of answer lengths are long
_LEAST: Final = 32  # below it, one more long word can cut an answer
_THINKS: Final = re.compile(r"(haiku|sonnet|opus|fable|mythos)-5")  # models that think by default


@dataclass(frozen=True, slots=True)
class LengthHistogram:
    """Histogram of the lengths of a task's answers, with the cap after the last cut."""

    counts: Mapping[int, int] = field(default_factory=dict)
    raised: int = 0  # tokens; 0: never cut


def bucket(tokens: int) -> int:
    """Return the bucket of a length; `upper` of it is at least that length."""
    return max(0, math.ceil(math.log(max(tokens, 1), _GROWTH) - 1e-9))


def upper(place: int) -> int:
    """Return the longest length in a bucket, in tokens."""
    return math.ceil(_GROWTH**place)


def learned(seen: LengthHistogram) -> int | None:
    """Return the tokens that nearly every answer of a task fits in; None with too few answers."""
    total = sum(seen.counts.values())
    if total < _ENOUGH:
        return None
    within = 0
    for place in sorted(seen.counts):
        within += seen.counts[place]
        if within >= _SHARE * total:
            return max(_LEAST, math.ceil(_MARGIN * upper(place)))
    raise AssertionError("the shares of a histogram sum to one")


def cap(
    body: Mapping[str, Any],
    *,
    open_ended: bool,
    task: str | None,
    model: str,
    rules: LengthRules,
    seen: LengthHistogram,
    thinking_off: bool = False,
) -> Cap | None:
    """Return the `max_tokens` to send; None: the body is sent unchanged.

    `open_ended`: the caller did not choose a length, and the body's is a placeholder. A body
    without the required `max_tokens` (`/v1/messages`) is left for Claude to refuse.
    """
    requested = None if open_ended else body.get("max_tokens")
    if requested is None and not open_ended:
        return None
    if requested is not None:
        if rules.ceiling is None or not rules.cut_callers or requested <= rules.ceiling:
            return Cap(requested, "asked", requested)
        return Cap(rules.ceiling, "tenant", requested, ours=True)
    room = 0 if thinking_off else _room(body, model, rules)
    tokens, reason = rules.default + room, "default"
    if task is not None and (typical := rules.by_task.get(task, BY_TASK.get(task))) is not None:
        tokens, reason = typical + room, "task"
    if rules.learn and (enough := learned(seen)) is not None:
        tokens, reason = enough, "learned"
    if rules.learn and seen.raised > tokens:
        tokens, reason = seen.raised, "raised"
    if rules.ceiling is not None and tokens > rules.ceiling:
        tokens, reason = rules.ceiling, "tenant"
    tokens = _above_budget(body, tokens)
    return Cap(tokens, reason, ours=True, longer=longer(seen, tokens), thinking_off=thinking_off)


def switches_thinking_off(
    body: Mapping[str, Any],
    *,
    open_ended: bool,
    task: str | None,
    thinking: Set[str] | None,
    rules: LengthRules,
) -> bool:
    """Return whether thinking is switched off for a task: the caller says nothing of it.

    `thinking`: the kinds that the model accepts; None: not known, and it is left alone.
    """
    left_to_us = open_ended and body.get("thinking") is None
    return left_to_us and task in rules.thinking_off and "disabled" in (thinking or ())


def with_thinking(cap: Cap, model: str, rules: LengthRules) -> Cap:
    """Return the cap of the same call with thinking left to the model."""
    room = _room({}, model, rules)
    return replace(cap, max_tokens=cap.max_tokens + room, thinking_off=False)


def longer(seen: LengthHistogram, cap: int) -> int | None:
    """Return the mean length of a task's answers that are longer than a cap; None with too few.

    Counted are lengths recorded before the cap existed or after it was raised; a bucket counts as
    its shortest length. For tasks whose answers were always cut the length is unknown.
    """
    found = {at: count for at, count in seen.counts.items() if upper(at - 1) >= cap}
    many = sum(found.values())
    if many < _LONGER:
        return None
    mean = sum(min(upper(at - 1), MAX_TOKENS) * count for at, count in found.items()) / many
    return int(mean) if mean > cap else None


def raised(cap: Cap) -> int:
    """Return the cap after it has cut an answer."""
    return 2 * cap.max_tokens


def _room(body: Mapping[str, Any], model: str, rules: LengthRules) -> int:
    """Return the tokens that thinking may take before the answer begins."""
    thinking = body.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if kind == "disabled":
        return 0
    if kind is None and not _THINKS.search(model):
        return 0
    return rules.thinking_room


def _above_budget(body: Mapping[str, Any], tokens: int) -> int:
    """Return at least `tokens` and more than the thinking budget, as Claude requires."""
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    if isinstance(budget, int) and not isinstance(budget, bool) and budget > 0:
        return max(tokens, budget + _LEAST)
    return tokens
