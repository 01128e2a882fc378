"""How many tokens an answer may take: what the caller said, else by task and by what was learned.

Rule: a cap is there to stop a runaway, not to shorten answers. One that cuts an answer makes a
caller pay for a torso, so it is generous, and grows as soon as it has cut.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cacheserver.core.rules.lengths import LengthRules
from cacheserver.core.types import MAX_TOKENS, Cap

# Visible tokens by task before anything is learned: a class name, a
# paragraph, a page. Everything else has the rules' default.
BY_TASK: Final[Mapping[str, int]] = {"classification": 10, "summarisation": 150, "analysis": 1_024}

# A histogram's buckets grow by a quarter: 60 of them reach a million tokens.
_GROWTH: Final = 1.25
_ENOUGH: Final = 50  # answers before a length counts as learned: 1% of them is then half an answer
_LONGER: Final = 20  # answers longer than a cap, before their mean is worth a figure of money
_SHARE: Final = 0.99
_MARGIN: Final = 2.0  # over the 99th percentile; tails of answer lengths are long
_LEAST: Final = 32  # under it a single longer word cuts an answer
_THINKS: Final = re.compile(r"(haiku|sonnet|opus|fable|mythos)-5")  # by default


@dataclass(frozen=True, slots=True)
class LengthHistogram:
    """Lengths of earlier answers to such a task: counts by bucket, and what a cut raised it to."""

    counts: Mapping[int, int] = field(default_factory=dict)
    raised: int = 0  # tokens; 0: never cut


def bucket(tokens: int) -> int:
    """The bucket of a length; `upper` of it is at least that length."""
    return max(0, math.ceil(math.log(max(tokens, 1), _GROWTH) - 1e-9))


def upper(place: int) -> int:
    """The longest length in a bucket, in tokens."""
    return math.ceil(_GROWTH**place)


def learned(seen: LengthHistogram) -> int | None:
    """Tokens that hold nearly every answer to such a task; None before enough were seen."""
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
) -> Cap | None:
    """The `max_tokens` to send; None where the body goes as it came.

    `open_ended`: the caller left the length to us, and the body's is a placeholder. A body that
    names none though it may not (`/v1/messages`) is Claude's to refuse.
    """
    asked = None if open_ended else body.get("max_tokens")
    if asked is None and not open_ended:
        return None
    if asked is not None:
        if rules.ceiling is None or not rules.cut_callers or asked <= rules.ceiling:
            return Cap(asked, "asked", asked)
        return Cap(rules.ceiling, "tenant", asked, ours=True)
    room = _room(body, model, rules)
    tokens, reason = rules.default + room, "default"
    if task is not None and (known := rules.by_task.get(task, BY_TASK.get(task))) is not None:
        tokens, reason = known + room, "task"
    if rules.learn and (enough := learned(seen)) is not None:
        tokens, reason = enough, "learned"
    if rules.learn and seen.raised > tokens:
        tokens, reason = seen.raised, "raised"
    if rules.ceiling is not None and tokens > rules.ceiling:
        tokens, reason = rules.ceiling, "tenant"
    tokens = _above_budget(body, tokens)
    return Cap(tokens, reason, ours=True, longer=longer(seen, tokens))


def longer(seen: LengthHistogram, cap: int) -> int | None:
    """How long answers to such a task are that are longer than a cap, and at most what they would
    have been given without us; None where too few were seen.

    The mean of what was measured before the cap was there, or after it was raised; a bucket counts
    as its shortest length. Of tasks whose answers were always cut nothing is known.
    """
    found = {at: count for at, count in seen.counts.items() if upper(at - 1) >= cap}
    many = sum(found.values())
    if many < _LONGER:
        return None
    mean = sum(min(upper(at - 1), MAX_TOKENS) * count for at, count in found.items()) / many
    return int(mean) if mean > cap else None


def raised(cap: Cap) -> int:
    """What a cap that cut an answer grows to."""
    return 2 * cap.max_tokens


def _room(body: Mapping[str, Any], model: str, rules: LengthRules) -> int:
    """Tokens that thinking may take before the answer begins."""
    thinking = body.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if kind == "disabled":
        return 0
    if kind is None and not _THINKS.search(model):
        return 0
    return rules.thinking_room


def _above_budget(body: Mapping[str, Any], tokens: int) -> int:
    """A thinking budget must be under `max_tokens`, or Claude refuses the request."""
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    if isinstance(budget, int) and not isinstance(budget, bool) and budget > 0:
        return max(tokens, budget + _LEAST)
    return tokens
