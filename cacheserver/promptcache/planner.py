"""Planner of prompt-cache marks: sets them by expected gain, and books the outcome. Pure.

A write costs a premium over plain input (25% for 5 minutes, 100% for an hour) and a read costs
almost nothing. With probability p that a prefix is reused within the lifetime, a token costs
`p * read + (1 - p) * write` of its plain price. Each segment of the prompt gets the lifetime with
the lowest such cost, or no mark if no cost is below 1: Anthropic's break-even, with the
multipliers of the price table.

The loss is bounded. Every prefix has an account, in tokens at the plain price. Reads credit what
they saved, writes debit their premium. At the start of a day (UTC) a debt is cancelled, and a
profit is kept up to `CARRIED`. A prefix is written only while its account is at least 0, and by
one call at a time. So no account falls below minus one premium. Every token read or written is
booked to exactly one prefix. The net loss of a prefix is therefore at most its cancelled debts
plus today's debt: on any trace, however wrong the estimates of p, prompts cost at most what they
cost without caching plus **one write premium per prefix and day**. (A single day may lose
`CARRIED` times more, out of the profit of earlier days.) This holds while Claude keeps prefixes
for their lifetime and begins to answer within the time that others wait; a prefix that it drops
early may be written once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from cacheserver.core.types import Mark, Usage
from cacheserver.core.usage import prompt_tokens
from cacheserver.promptcache.layout import Layout, MarkPosition
from cacheserver.promptcache.multipliers import Rates

Ttl: TypeAlias = Literal["5m", "1h"]

MOST_MARKS = 4  # the API's limit
LOOKBACK = 20  # block positions a mark looks back, its own included (prompt caching page)
LIFETIME_S: Final[dict[Ttl, int]] = {"5m": 300, "1h": 3_600}
# A lifetime starts when the call starts: after our `now` at planning, and before Claude's time of
# answering. So an entry that expires within the margin counts as expired.
MARGIN_S = 3

# Limit of the profit carried over to the next day, in plain prices of the prefix: four wasted
# one-hour writes. Without it, a bad start would block writes of a prefix for the rest of each day:
# on random arrivals every 30 minutes that cost twice the best fixed plan.
CARRIED = 4

# The prior of a new prefix weighs one observation of its kind...
_PRIOR_WEIGHT = 1.0
# ...and the prior of a kind is two prefixes without reuse, so that the first reuse must be seen
# before anything is written.
_CLASS_DOUBT = 2.0


@dataclass(frozen=True, slots=True)
class Gaps:
    """Decayed counts of how soon something came again: within 5 minutes, within the hour, later."""

    within_5m: float = 0.0
    within_1h: float = 0.0
    later: float = 0.0

    @property
    def total(self) -> float:
        return self.within_5m + self.within_1h + self.later


@dataclass(frozen=True, slots=True)
class PrefixStats:
    """Statistics of a prefix when it is seen once more."""

    sightings: float = 0.0  # decayed, this one included
    gaps: Gaps = Gaps()
    kind_opened: float = 0.0  # prefixes of its kind ever seen, decayed
    kind: Gaps = Gaps()  # gaps before their first reuse
    used_at: float | None = None  # start of the last call that wrote or read it
    ttl: Ttl = "5m"  # as written
    writing: Literal["no", "ours", "theirs"] = "no"  # a pending call that writes it
    account: float = 0.0  # tokens at the plain price
    void: bool = False  # a mark wrote nothing: below the model's minimum

    def live(self, now: float) -> bool:
        return self.used_at is not None and now - self.used_at <= LIFETIME_S[self.ttl] - MARGIN_S


@dataclass(frozen=True, slots=True)
class Draft:
    """Plan with its inputs, so that its outcome can be booked."""

    spots: tuple[MarkPosition, ...]
    tokens: int  # of the whole prompt, estimated
    marks: tuple[tuple[int, Ttl], ...]  # index of the spot, in order
    reach: int  # index of the deepest spot that is read; -1: none
    reason: str
    expected: float  # gain in tokens at the plain price; negative: a premium
    rates: Rates
    at: float  # time of planning; the call begins no earlier
    reserved: tuple[tuple[str, float], ...] = ()  # prefixes to be written, and their premiums
    waits: tuple[str, ...] = ()  # prefixes that another call of ours is writing

    def as_marks(self) -> tuple[Mark, ...]:
        return tuple(Mark(self.spots[at].path, ttl) for at, ttl in self.marks)

    @property
    def prefix(self) -> str | None:
        return self.spots[self.marks[-1][0]].prefix if self.marks else None


@dataclass(frozen=True, slots=True)
class PrefixUpdate:
    """Booking of a prefix after its call."""

    prefix: str
    change: float  # of its account, with the refund of what was reserved
    used: bool  # it is live from the start of the call
    ttl: Ttl = "5m"
    void: bool = False


def chances(sight: PrefixStats) -> tuple[float, float]:
    """Return the chances that the prefix comes again within 5 minutes, and within the hour."""
    opened = sight.kind_opened + _CLASS_DOUBT
    prior_5m = sight.kind.within_5m / opened
    prior_1h = (sight.kind.within_5m + sight.kind.within_1h) / opened
    seen = sight.gaps.total + _PRIOR_WEIGHT
    within_5m = (sight.gaps.within_5m + _PRIOR_WEIGHT * prior_5m) / seen
    within_1h = (sight.gaps.within_5m + sight.gaps.within_1h + _PRIOR_WEIGHT * prior_1h) / seen
    return min(1.0, within_5m), min(1.0, within_1h)


def worths(sights: Sequence[PrefixStats], rates: Rates) -> list[dict[Ttl, float]]:
    """Return the long-run saving per token up to each position, of its price; below 0: a cost.

    A position comes again whenever one behind it does, so its chance is the best of those.
    """
    found: list[dict[Ttl, float]] = []
    hit: dict[Ttl, float] = {"5m": 0.0, "1h": 0.0}
    for sight in reversed(sights):
        for ttl, chance in zip(hit, chances(sight), strict=True):
            hit[ttl] = max(hit[ttl], chance)
        found.append(
            {ttl: 1.0 - (p * rates.read + (1.0 - p) * rates.write(ttl)) for ttl, p in hit.items()}
        )
    return found[::-1]


def draft(
    layout: Layout,
    sights: Sequence[PrefixStats],
    rates: Rates,
    *,
    now: float,
    one_hour: bool = True,
    write: bool = True,
) -> Draft:
    """Return the marks for a request. `sights` are those of the layout's spots, with this request.

    `write` False: only existing prefixes are read. At most 4 marks, in order, 1h before 5m.
    """
    spots = layout.spots
    reach = _reach(sights, now)
    hour_end, end = reach, reach
    if write:
        open_ = _writable(sights, reach)
        # The API refuses a 1h mark after a 5m mark: a 5m entry is then found by the lookback, not
        # by its own mark.
        bound = reach >= 0 and sights[reach].ttl == "5m"
        hours = [at for at in open_ if one_hour and not (bound and not _near(spots, reach, at))]
        hour_end, end = _cuts(spots, sights, rates, reach, open_, hours)
    marks = _choose(spots, sights, reach, hour_end, end, now)
    reserved = _premiums(spots, marks, reach, rates)
    base = spots[reach].tokens if reach >= 0 else 0
    expected = base * (1.0 - rates.read) - sum(premium for _, premium in reserved)
    return Draft(
        spots=spots,
        tokens=layout.tokens,
        marks=marks,
        reach=reach,
        reason=_why(spots, sights, marks, reserved),
        expected=expected,
        rates=rates,
        at=now,
        reserved=reserved,
        waits=tuple(
            spot.prefix
            for spot, sight in zip(spots[: reach + 1], sights, strict=False)
            if sight.writing == "ours" and not sight.live(now)
        ),
    )


def settle(draft: Draft, usage: Usage) -> tuple[PrefixUpdate, ...]:
    """Return the bookings of a call. Tokens are Claude's, scaled to the estimates."""
    total = prompt_tokens(usage)
    scale = draft.tokens / total if total else 1.0
    read = usage.cache_read_tokens * scale
    wrote = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens > 0
    reach = _reached(draft, read)
    ttls = dict(draft.marks)
    reserved = dict(draft.reserved)
    bookings: list[PrefixUpdate] = []
    before = 0
    for at in sorted({*ttls, reach} - {-1}):
        spot = draft.spots[at]
        tokens, before = spot.tokens - before, spot.tokens
        back = reserved.pop(spot.prefix, 0.0)
        ttl = ttls.get(at, "5m")
        if at <= reach:
            saved = tokens * (1.0 - draft.rates.read)
            bookings.append(PrefixUpdate(spot.prefix, back + saved, True, ttl))
        elif wrote:
            premium = tokens * (draft.rates.write(ttl) - 1.0)
            bookings.append(PrefixUpdate(spot.prefix, back - premium, True, ttl))
        else:
            bookings.append(PrefixUpdate(spot.prefix, back, False, ttl, void=reach < 0))
    return tuple(bookings)


def begun(draft: Draft) -> tuple[PrefixUpdate, ...]:
    """Return the bookings of a call whose answer has begun: its writes can be read from now on."""
    ttls = {draft.spots[at].prefix: ttl for at, ttl in draft.marks}
    return tuple(PrefixUpdate(prefix, 0.0, True, ttls[prefix]) for prefix, _ in draft.reserved)


def refund(draft: Draft) -> tuple[PrefixUpdate, ...]:
    """Return the bookings of a call that Claude refused or never got: it wrote nothing."""
    return tuple(PrefixUpdate(prefix, premium, False) for prefix, premium in draft.reserved)


def _reach(sights: Sequence[PrefixStats], now: float) -> int:
    """Return the deepest position that can be read, or will be once a call of ours has begun."""
    for at in reversed(range(len(sights))):
        if sights[at].live(now) or sights[at].writing == "ours":
            return at
    return -1


def _open(sight: PrefixStats) -> bool:
    """Return whether a prefix may be written: see the module's rule."""
    return sight.account >= 0 and sight.writing == "no" and not sight.void


def _writable(sights: Sequence[PrefixStats], reach: int) -> list[int]:
    """Return the positions beyond the reach where a write may end, before others' writes."""
    found = []
    for at in range(reach + 1, len(sights)):
        if sights[at].writing == "theirs":
            break
        if _open(sights[at]):
            found.append(at)
    return found


def _near(spots: Sequence[MarkPosition], entry: int, mark: int) -> bool:
    return spots[mark].position - spots[entry].position < LOOKBACK


def _cuts(
    spots: Sequence[MarkPosition],
    sights: Sequence[PrefixStats],
    rates: Rates,
    reach: int,
    open_: Sequence[int],
    hours: Sequence[int],
) -> tuple[int, int]:
    """Return how deep to write for an hour, and from there for 5 minutes, to save the most.

    A stretch is read as often as a position comes again at which it was written: text between two
    such positions counts with the later one.
    """
    before = spots[reach].tokens if reach >= 0 else 0
    hour, five = {reach: 0.0}, {reach: 0.0}  # saving of a write up to each spot
    last = reach
    worth = worths([sights[at] for at in open_], rates)
    for at, token in zip(open_, worth, strict=True):
        tokens, before = spots[at].tokens - before, spots[at].tokens
        hour[at] = hour[last] + tokens * token["1h"]
        five[at] = five[last] + tokens * token["5m"]
        last = at
    best, chosen = 0.0, (reach, reach)
    for hour_end in (reach, *hours):
        for end in (hour_end, *(at for at in open_ if at > hour_end)):
            value = hour[hour_end] + five[end] - five[hour_end]
            # Of equals, the shallower and shorter-lived wins: it was tried first.
            if value > best + 1e-6:
                best, chosen = value, (hour_end, end)
    return chosen


def _choose(
    spots: Sequence[MarkPosition],
    sights: Sequence[PrefixStats],
    reach: int,
    hour_end: int,
    end: int,
    now: float,
) -> tuple[tuple[int, Ttl], ...]:
    """Return at most 4 marks: required ones, then those that renew or that others will read."""
    must: dict[int, Ttl] = {}
    if end > reach:
        must[end] = "1h" if end <= hour_end else "5m"
    if reach < hour_end < end:
        must[hour_end] = "1h"
    hours = hour_end > reach
    if reach >= 0 and not (hours and sights[reach].ttl == "5m"):
        must[reach] = sights[reach].ttl
    spare = [at for at in range(end) if at not in must]
    # Shared prefixes are seen most often; of equals the deeper one saves more.
    spare.sort(key=lambda at: (sights[at].sightings, at), reverse=True)
    chosen = dict(must)
    for at in spare:
        if len(chosen) == MOST_MARKS:
            break
        if at <= reach and sights[at].live(now):
            chosen[at] = sights[at].ttl
        elif at > reach and _open(sights[at]) and sights[at].sightings >= 2:
            chosen[at] = "1h" if at <= hour_end else "5m"
    marks = sorted(chosen.items())
    # A 5m mark before a 1h mark can only be a renewal, and the API refuses the order: drop it.
    last_hour = max((at for at, ttl in marks if ttl == "1h"), default=-1)
    return tuple((at, ttl) for at, ttl in marks if ttl == "1h" or at > last_hour)


def _premiums(
    spots: Sequence[MarkPosition], marks: Sequence[tuple[int, Ttl]], reach: int, rates: Rates
) -> tuple[tuple[str, float], ...]:
    """Return the premium of each mark beyond the reach over plain input, in tokens."""
    before = spots[reach].tokens if reach >= 0 else 0
    found = []
    for at, ttl in marks:
        if at > reach:
            found.append((spots[at].prefix, (spots[at].tokens - before) * (rates.write(ttl) - 1.0)))
            before = spots[at].tokens
    return tuple(found)


def _reached(draft: Draft, read: float) -> int:
    """Return the position whose tokens are nearest to those read; -1 if none were."""
    if read <= 0 or not draft.spots:
        return -1
    return min(range(len(draft.spots)), key=lambda at: abs(draft.spots[at].tokens - read))


def _why(
    spots: Sequence[MarkPosition],
    sights: Sequence[PrefixStats],
    marks: Sequence[tuple[int, Ttl]],
    reserved: Sequence[tuple[str, float]],
) -> str:
    if reserved:
        return "write"
    if marks:
        return "read"
    if not spots:
        return "too-short"
    if any(sight.writing == "theirs" for sight in sights):
        return "being-written"
    if any(sight.account < 0 for sight in sights):
        return "allowance-spent"
    if all(sight.sightings < 2 for sight in sights):
        return "first-sight"
    return "rarely-reused"
