"""Break-even of prompt-cache marks, and advice on a prefix in words. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from cacheserver.core.types import Nanodollars
from cacheserver.promptcache.multipliers import Rates
from cacheserver.promptcache.planner import PrefixStats, Ttl, chances
from cacheserver.promptcache.skeleton import MOVED

Code: TypeAlias = Literal["too-short", "seen-once", "pays", "rarely-reused"]

_TTLS: Final[tuple[Ttl, ...]] = ("5m", "1h")
_WORDS: Final[Mapping[Ttl, str]] = {"5m": "5 minutes", "1h": "an hour"}
_END_SHARE: Final = 0.02  # of a prompt, behind which nothing worth keeping stands
_ONCE: Final = 1.5  # decayed sightings, below which a prefix was seen once


@dataclass(frozen=True, slots=True)
class BreakEven:
    """The point from which on a mark of one lifetime pays."""

    reads: int  # within the lifetime, after one write
    chance: float  # of coming again within the lifetime, each time


@dataclass(frozen=True, slots=True)
class Advice:
    """Advice on a prefix. `ttl` is the lifetime that pays best; None: none does."""

    code: Code
    ttl: Ttl | None
    text: str


def break_even(rates: Rates, ttl: Ttl) -> BreakEven:
    """Return from how many reads, and from which chance of reuse, a mark of a lifetime pays."""
    write, read = rates.write(ttl), rates.read
    premium, saved = write - 1.0, 1.0 - read
    if saved <= 0:
        return BreakEven(0, 1.0)  # prices under which nothing pays
    reads = math.floor(premium / saved + 1e-9) + 1 if premium > 0 else 1
    return BreakEven(reads, min(1.0, max(0.0, premium / (write - read))))


def worth(stats: PrefixStats, rates: Rates) -> dict[Ttl, float]:
    """Return what a mark saves of the prefix's price, by lifetime; below 0 it costs."""
    return {
        ttl: 1.0 - (chance * rates.read + (1.0 - chance) * rates.write(ttl))
        for ttl, chance in zip(_TTLS, chances(stats), strict=True)
    }


def advise(stats: PrefixStats, rates: Rates) -> Advice:
    """Return advice on a prefix that may end at a mark."""
    if stats.void:
        return Advice(
            "too-short",
            None,
            "It is under the model's minimum, so Claude does not keep it. Put more of what stays "
            "the same in front of what changes.",
        )
    gains = worth(stats, rates)
    best = max(_TTLS, key=lambda ttl: gains[ttl])
    points = {ttl: break_even(rates, ttl) for ttl in _TTLS}
    if stats.sightings < _ONCE:
        needed = points["5m"].reads
        return Advice(
            "seen-once",
            None,
            f"It was seen once. A mark pays from {_times(needed, 'read')} within 5 minutes on, so "
            "it is written when it comes again.",
        )
    chance = dict(zip(_TTLS, chances(stats), strict=True))
    if gains[best] > 0:
        return Advice(
            "pays",
            best,
            f"It comes again within {_WORDS[best]} {chance[best]:.0%} of the time: a mark for "
            f"{_WORDS[best]} saves {gains[best]:.0%} of its price.",
        )
    least = min(_TTLS, key=lambda ttl: points[ttl].chance - chance[ttl])
    return Advice(
        "rarely-reused",
        None,
        f"It comes again within {_WORDS[least]} {chance[least]:.0%} of the time, and a mark pays "
        f"from {points[least].chance:.0%} on: marked, it would cost more.",
    )


def of_fragments(spans: Sequence[Mapping[str, Any]], chars: int) -> str:
    """Return advice on a prompt of which these places change; `chars` is its length."""
    first = min(int(span["start"]) for span in spans)
    kinds = sorted({str(span["kind"]) for span in spans})
    behind = max(0, chars - first)
    named = " and ".join(f"a {kind}" for kind in kinds)
    start = (
        f"What changes ({named}) begins at character {first:,}: the {behind:,} characters from "
        "there on are read at the full price each time. "
    )
    after = max(int(span["end"]) for span in spans)
    if chars - after < chars * _END_SHARE:
        return (
            f"What changes ({named}) is at the end already, from character {first:,} on. Send it "
            "as a block of its own behind what stays, so that a mark can stand between them; "
            "`caching.move_dynamic` cuts it off here."
        )
    if set(kinds) <= MOVED:
        return (
            f"{start}Move it to the end of the prompt, or into the question; "
            "`caching.move_dynamic` moves it here. If answers do not depend on it, "
            "`caching.ignore_in_scope` lets them be shared."
        )
    return (
        f"{start}Move it to the end of the prompt, or into the question. If answers do not depend "
        "on it, `caching.ignore_in_scope` lets them be shared."
    )


def use_cost(tokens: Mapping[str, int], rates: Rates) -> tuple[dict[str, Nanodollars], Nanodollars]:
    """Return what prompt tokens cost by kind, and what all would as plain input; estimates.

    A long prompt's higher price is not in it.
    """
    factor = {
        "input": 1.0,
        "cache_read": rates.read,
        "cache_write_5m": rates.write_5m,
        "cache_write_1h": rates.write_1h,
    }
    costs = {kind: round(tokens.get(kind, 0) * of * rates.input) for kind, of in factor.items()}
    return costs, round(sum(tokens.get(kind, 0) for kind in factor) * rates.input)


def _times(count: int, what: str) -> str:
    return f"one {what}" if count == 1 else f"{count} {what}s"
