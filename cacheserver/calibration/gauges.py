"""The share of wrong hits, as gauges for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence

from cacheserver.calibration.wrong_hits import WrongHitShares
from cacheserver.core.types import Tenant
from cacheserver.observability.gauges import Gauges

_EVERY = 5  # samples: the labels of a scope are up to a megabyte


class WrongHitGauges:
    """Estimates the share from labels, in every fifth sample."""

    def __init__(self, wrong_hits: WrongHitShares, gauges: Gauges) -> None:
        self._wrong_hits = wrong_hits
        self._gauges = gauges
        self._samples = 0

    async def sample(self, tenants: Sequence[Tenant]) -> None:
        """Set the gauges. Raises nothing."""
        self._samples += 1
        if self._samples % _EVERY != 1:
            return
        over, names = 0, [tenant.name for tenant in tenants]
        for tenant in tenants:
            if tenant.bar.target is not None:
                own = await self._wrong_hits.share([tenant.name])
                over += own is not None and own.exceeds(tenant.bar.target)
        found = await self._wrong_hits.share(names) if names else None
        shares = None if found is None else (found.low, found.share, found.high)
        self._gauges.wrong_hits(shares, over=over)
