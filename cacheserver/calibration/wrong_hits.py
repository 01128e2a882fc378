"""What the labels of a tenant's scopes say of its hits, for the ledger's reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cacheserver.cache.ports import Metrics
from cacheserver.calibration.labels import Labels
from cacheserver.calibration.states import decode
from cacheserver.calibration.wrong_hit_rate import WrongShare, share_of
from cacheserver.core.errors import StoreError
from cacheserver.matching.calibration import Label

_KEPT_S = 60.0  # labels come slowly, and a window is up to a megabyte
_REMEMBERED = 256
_MOST_SCOPES = 200  # of all tenants asked for: the newest windows are not told apart from others


class WrongHitShares:
    """The share of wrong hits by tenant, remembered for a minute."""

    def __init__(self, labels: Labels, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._labels = labels
        self._metrics = metrics
        self._clock = clock
        self._known: dict[tuple[str, ...], tuple[float, WrongShare | None]] = {}

    async def share(self, tenants: Sequence[str]) -> WrongShare | None:
        """Of the hits of these tenants together; None where no label tells. Raises nothing."""
        key, now = tuple(tenants), self._clock()
        at, known = self._known.get(key, (now - _KEPT_S, None))
        if now - at < _KEPT_S:
            return known
        try:
            found = share_of(await self._gather(key))
        except StoreError:
            self._metrics.swallowed("wrong-hits")
            return None
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[key] = (now, found)
        return found

    async def _gather(self, tenants: Sequence[str]) -> list[Label]:
        found: list[Label] = []
        scopes = 0
        for tenant in tenants:
            for scope in await self._labels.scopes(tenant):
                scopes += 1
                if scopes > _MOST_SCOPES:
                    return found
                rows = await self._labels.window(tenant, scope)
                found += (label for _, row in rows if (label := decode(row)) is not None)
        return found
