"""Share of wrong hits by tenant, from its scopes' labels, for the ledger's reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cacheserver.cache.ports import Metrics
from cacheserver.calibration.labels import Labels
from cacheserver.calibration.wrong_hit_rate import WrongShare, share_of
from cacheserver.core.errors import StoreError

_FRESH_S = 60.0  # labels come slowly, and a window is up to a megabyte
_FEW, _FEW_FRESH_S = 200, 5.0  # quick to read, and whoever gives the first ones looks for them
_REMEMBERED = 256
_MOST_SCOPES = 200  # of all tenants together, in any order


class WrongHitShares:
    """Share of wrong hits by tenant, cached for a minute, or for seconds while labels are few."""

    def __init__(self, labels: Labels, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._labels = labels
        self._metrics = metrics
        self._clock = clock
        self._cached: dict[tuple[str, ...], tuple[float, WrongShare | None]] = {}

    async def share(self, tenants: Sequence[str]) -> WrongShare | None:
        """Return the share over these tenants; None without labels. Raises nothing."""
        key, now = tuple(tenants), self._clock()
        at, share = self._cached.get(key, (now - _FRESH_S, None))
        few = share is None or share.labels < _FEW
        if now - at < (_FEW_FRESH_S if few else _FRESH_S):
            return share
        try:
            found = share_of(await self._gather(key))
        except StoreError:
            self._metrics.swallowed("wrong-hits")
            return None
        if len(self._cached) >= _REMEMBERED:
            del self._cached[next(iter(self._cached))]
        self._cached[key] = (now, found)
        return found

    async def _gather(self, tenants: Sequence[str]) -> list[_ServedHit]:
        found: list[_ServedHit] = []
        scopes = 0
        for tenant in tenants:
            for scope in await self._labels.scopes(tenant):
                scopes += 1
                if scopes > _MOST_SCOPES:
                    return found
                rows = await self._labels.window(tenant, scope)
                found += (hit for _, row in rows if (hit := _served_hit(row)) is not None)
        return found


class _ServedHit(NamedTuple):
    """Verdict on a hit."""

    right: bool
    weight: float
    served: bool = True


def _served_hit(row: Mapping[str, Any]) -> _ServedHit | None:
    """Read the verdict of a stored label; None if it is of a miss, or cannot be read.

    Its evidence is left alone: reading that takes four fifths of the time, and a report may wait
    for ten thousand labels.
    """
    right, weight = row.get("right"), row.get("weight")
    if row.get("served") is not True or not isinstance(right, bool):
        return None
    return _ServedHit(right, weight) if isinstance(weight, int | float) else None
