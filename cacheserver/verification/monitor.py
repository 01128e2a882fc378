"""Monitor of verification: metrics, and drift of the share of yeses."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

from cacheserver.matching.verification import Drift
from cacheserver.matching.verification_outcome import Verdict

_MOST_TENANTS = 1_000

Mode: TypeAlias = Literal["inline", "background", "remembered"]


class Metrics(Protocol):
    def verified(self, verdict: str, mode: str, seconds: float | None) -> None: ...


class Monitor:
    """Counts verdicts, and tests whether the model still says yes as often as before."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._drift: dict[str, Drift] = {}

    def drifted(self, tenant: str, *, yes: bool) -> bool:
        """Note a reply of the model. Return whether the share of yeses has changed."""
        drift = self._drift.pop(tenant, Drift()).after(yes)
        self._drift[tenant] = Drift() if drift.drifted else drift
        if len(self._drift) > _MOST_TENANTS:
            del self._drift[next(iter(self._drift))]
        return drift.drifted

    def ended(self, verdict: Verdict, mode: Mode, seconds: float | None = None) -> None:
        """Count a verification; `seconds`: what its request waited for a call."""
        self._metrics.verified(verdict, mode, seconds)
