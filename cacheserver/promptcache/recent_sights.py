"""Prefixes that the store told of a moment ago: a call that only reads them asks it no more.

Rule: only what cannot cost a premium is planned from here. What is to be written is asked of the
store, so that the accounts hold for all servers together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cacheserver.promptcache.layout import Layout
from cacheserver.promptcache.planner import MARGIN_S, Gaps, PrefixStats, PrefixUpdate
from cacheserver.promptcache.prefixes import KEEP, KEEP_KIND

# By as much as Claude may hold a prefix longer than planned: what is older may be over.
FRESH_S = MARGIN_S - 1
_MOST = 2_000  # prefixes, some 1 MB


@dataclass(slots=True)
class _Told:
    sight: PrefixStats
    at: float


class RecentSights:
    """Memory of what the store told of prefixes and of their kinds. Times are Unix seconds."""

    def __init__(self) -> None:
        self._prefixes: OrderedDict[tuple[str, str], _Told] = OrderedDict()
        self._kinds: OrderedDict[tuple[str, str], _Told] = OrderedDict()

    def keep(self, tenant: str, layout: Layout, sights: Sequence[PrefixStats], now: float) -> None:
        """Keep what the store told."""
        for spot, sight in zip(layout.spots, sights, strict=True):
            if sight.sightings:  # else there was no room to remember it
                _put(self._prefixes, (tenant, spot.prefix), _Told(sight, now))
                _put(self._kinds, (tenant, spot.root + spot.kind), _Told(sight, now))

    def recall(self, tenant: str, layout: Layout, now: float) -> list[PrefixStats] | None:
        """Return the statistics of a layout's prefixes with this sighting; None: ask the store.

        The last one may be new here: every question ends with words of its own.
        """
        found: list[PrefixStats] = []
        for spot in layout.spots:
            told = self._prefixes.get((tenant, spot.prefix))
            if told is not None and 0 <= now - told.at < FRESH_S:
                if told.sight.writing != "no":
                    return None
                found.append(_seen_again(told.sight))
                continue
            kind = self._kinds.get((tenant, spot.root + spot.kind))
            if spot is not layout.spots[-1] or kind is None or not 0 <= now - kind.at < FRESH_S:
                return None
            found.append(_first_of(kind.sight))
        return found if any(sight.live(now) for sight in found) else None

    def book(self, tenant: str, bookings: Iterable[PrefixUpdate], began: float) -> None:
        """Add the reads of a call that began at `began`; what else was booked is forgotten."""
        for one in bookings:
            key = (tenant, one.prefix)
            if not one.used or one.change < 0 or one.void:
                self._prefixes.pop(key, None)
            elif (told := self._prefixes.get(key)) is not None:
                sight = told.sight
                used_at = began if sight.used_at is None else max(sight.used_at, began)
                account = sight.account + one.change
                told.sight = replace(sight, used_at=used_at, ttl=one.ttl, account=account)

    def forget(self, tenant: str, prefixes: Iterable[str]) -> None:
        """Forget prefixes: the next call asks the store for them."""
        for prefix in prefixes:
            self._prefixes.pop((tenant, prefix), None)


def _put(table: OrderedDict[tuple[str, str], _Told], key: tuple[str, str], told: _Told) -> None:
    table[key] = told
    table.move_to_end(key)
    if len(table) > _MOST:
        table.popitem(last=False)


def _seen_again(sight: PrefixStats) -> PrefixStats:
    gaps = sight.gaps
    again = Gaps(gaps.within_5m * KEEP + 1, gaps.within_1h * KEEP, gaps.later * KEEP)
    return replace(sight, sightings=sight.sightings * KEEP + 1, gaps=again)


def _first_of(kind: PrefixStats) -> PrefixStats:
    """The statistics of a new prefix, of the kind of another one."""
    gaps = kind.kind
    return PrefixStats(
        sightings=1.0,
        kind_opened=kind.kind_opened * KEEP_KIND + 1,
        kind=Gaps(gaps.within_5m * KEEP_KIND, gaps.within_1h * KEEP_KIND, gaps.later * KEEP_KIND),
    )
