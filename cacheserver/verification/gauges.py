"""Tenants by the state of their verification, as gauges for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cacheserver.core.errors import StoreError
from cacheserver.core.types import Tenant
from cacheserver.observability.gauges import Gauges
from cacheserver.verification.audited import AuditedVerdicts


class VerificationGauges:
    """Counts the tenants whose rates are stated or measured, and those switched off by audits."""

    def __init__(self, audited: AuditedVerdicts, gauges: Gauges) -> None:
        self._audited = audited
        self._gauges = gauges

    async def sample(self, tenants: Sequence[Tenant]) -> None:
        """Set the gauges. Raises nothing: a store that is away leaves them as they were."""
        states = Counter[str]()
        try:
            for tenant in tenants:
                if tenant.verify.mode != "off":
                    states[(await self._audited.state(tenant.name)).name] += 1
        except StoreError:
            return
        self._gauges.verification(states)
