"""Prefixes of Claude's prompt cache, in memory: `promptcache.prefixes` for a replay.

Step for step what the scripts of `promptcache.prefix_scripts` do; a contract test runs both on the
same traces. There is one server and time does not stand still for a write, so nothing is ever found
being written by somebody else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from cacheserver.promptcache.planner import CARRIED, Gaps, PrefixStats, PrefixUpdate, Ttl
from cacheserver.promptcache.prefix_scripts import LIFE_S, ONCE_S
from cacheserver.promptcache.prefixes import EDGES, KEEP, KEEP_KIND, MOST

_DAY_S = 86_400


@dataclass(slots=True)
class _Prefix:
    dies_at: float = 0.0
    sightings: float = 0.0
    gaps: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    last: float = 0.0
    kind: str = ""
    used_at: float | None = None
    ttl: Ttl = "5m"
    account: float = 0.0
    day: int = -1
    tokens: float = 0.0
    void: bool = False

    def on(self, day: int) -> float:
        """Return the balance on a day: a new day forgives debts and keeps part of the profit."""
        if self.day == day:
            return self.account
        return max(0.0, min(self.account, CARRIED * self.tokens))


class Sights:
    """Sightings, lifetimes and accounts of one tenant's prefixes, the `most` seen last."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._prefixes: OrderedDict[str, _Prefix] = OrderedDict()  # by when they were last seen

    def see(self, prefixes: Sequence[tuple[str, str, int]], now: float) -> list[PrefixStats]:
        """Count a sighting of each (prefix, kind, tokens), and return what is known of it."""
        while self._prefixes and next(iter(self._prefixes.values())).last <= now - LIFE_S:
            self._prefixes.popitem(last=False)
        return [self._sight(name, f"~{kind}", tokens, now) for name, kind, tokens in prefixes]

    def claim(self, writes: Sequence[tuple[str, float, Ttl]], now: float) -> bool:
        """Take the premium of each (prefix, premium, lifetime); False, and none, if one owes."""
        day = int(now // _DAY_S)
        found = [self._live(name, now) for name, _, _ in writes]
        if any(one is None or one.on(day) < 0 for one in found):
            return False
        for one, (_, premium, ttl) in zip(found, writes, strict=True):
            assert one is not None
            one.account, one.day, one.ttl = one.on(day) - premium, day, ttl
            one.dies_at = now + LIFE_S
        return True

    def book(self, bookings: Sequence[PrefixUpdate], began: float) -> None:
        """Write down what a call did; `began` is when it was planned."""
        day = int(began // _DAY_S)
        for booking in bookings:
            one = self._live(booking.prefix, began)
            if one is None:
                continue
            if one.day == day or booking.change < 0:
                one.account += booking.change
            if booking.used and began >= (one.used_at or 0.0):
                one.used_at, one.ttl = began, booking.ttl
            one.void = one.void or booking.void
            if one.account < 0:
                one.dies_at = began + LIFE_S

    def _live(self, name: str, now: float) -> _Prefix | None:
        one = self._prefixes.get(name)
        return None if one is None or one.dies_at <= now else one

    def _sight(self, name: str, kind: str, tokens: int, now: float) -> PrefixStats:
        day = int(now // _DAY_S)
        if not self._room(name, day):
            return PrefixStats(account=-1.0)
        one = self._live(name, now) or _Prefix()
        first, came = one.sightings == 0, None
        if not first:
            zone = _zone(max(0.0, now - one.last))
            one.gaps = [gap * KEEP for gap in one.gaps]
            one.gaps[zone] += 1
            came = zone if one.sightings == 1 else None
        one.kind = one.kind or kind
        if came is not None:
            self._of_kind(one.kind, now, day, came=came)
        of_kind = self._of_kind(one.kind, now, day, opened=first)
        one.sightings = one.sightings * KEEP + 1
        one.account, one.day, one.tokens = one.on(day), day, tokens
        one.last = max(now, one.last)
        lasting = one.sightings > 1 or one.account < 0
        self._touch(name, one, now, LIFE_S if lasting else ONCE_S)
        return PrefixStats(
            sightings=one.sightings,
            gaps=Gaps(*one.gaps),
            kind_opened=of_kind.sightings,
            kind=Gaps(of_kind.gaps[0], of_kind.gaps[1]),
            used_at=one.used_at,
            ttl=one.ttl,
            account=one.account,
            void=one.void,
        )

    def _of_kind(
        self, name: str, now: float, day: int, *, opened: bool = False, came: int | None = None
    ) -> _Prefix:
        one = self._live(name, now) or _Prefix()
        if not (opened or came is not None) or not self._room(name, day):
            return one
        if opened:
            one.sightings = one.sightings * KEEP_KIND + 1
            one.gaps = [gap * KEEP_KIND for gap in one.gaps]
        if came is not None:
            one.gaps[came] += 1
        one.last = now
        self._touch(name, one, now, LIFE_S)
        return one

    def _touch(self, name: str, one: _Prefix, now: float, life_s: float) -> None:
        one.dies_at = now + life_s
        self._prefixes[name] = one
        self._prefixes.move_to_end(name)

    def _room(self, name: str, day: int) -> bool:
        """Make room for a new prefix; one that owes a premium today is not evicted."""
        if name in self._prefixes or len(self._prefixes) < self._most:
            return True
        for old in list(islice(self._prefixes, 10)):
            if self._prefixes[old].on(day) >= 0:
                del self._prefixes[old]
                return True
        return False


def _zone(gap: float) -> int:
    return 0 if gap <= EDGES[0] else 1 if gap <= EDGES[1] else 2
