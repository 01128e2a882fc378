"""Calls that trials make: paid by the server, within a tenant's cap a day, counted.

Rule: what a call may cost at most is reserved before it is made, so the cap is never passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from cacheserver import jsontext
from cacheserver.asking.catalogue import Catalogue
from cacheserver.errors import UpstreamError
from cacheserver.policy import capabilities
from cacheserver.ports import Claude, Journal, Metrics, Pricer
from cacheserver.stores.labels import Labels
from cacheserver.types import Nanodollars, Tenant, Usage
from cacheserver.upstream import Call

PURPOSE: Final = "trial"
_DAY_S: Final = 86_400
_NANO: Final = 1_000_000_000

Why: TypeAlias = Literal["cap", "price", "capability", "unbounded", "failed"]


@dataclass(frozen=True, slots=True)
class Told:
    """What came back, and what it cost."""

    message: Mapping[str, Any]
    cost: Nanodollars


@dataclass(frozen=True, slots=True)
class Untold:
    """Why nothing did."""

    why: Why


class TrialCalls:
    """Asks Claude in the background."""

    def __init__(
        self,
        *,
        labels: Labels,
        catalogue: Catalogue,
        claude: Claude,
        pricer: Pricer,
        journal: Journal,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._labels = labels
        self._catalogue = catalogue
        self._claude = claude
        self._pricer = pricer
        self._journal = journal
        self._metrics = metrics
        self._clock = clock

    async def ask(
        self, tenant: Tenant, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Told | Untold:
        """One answer, or why there is none. What fails is counted. Raises `StoreError`."""
        now, model = self._clock(), str(body["model"])
        able = capabilities.of(model, self._catalogue.told(now))
        needs = capabilities.needs(body)
        if capabilities.lacks(able, needs) is not None:
            return Untold("capability")
        if needs.images:  # a page that is only named here may be any number of tokens
            return Untold("unbounded")
        raw = jsontext.dumps(body)
        # A token is at least a byte of the body.
        most = Usage(input_tokens=len(raw), output_tokens=int(body.get("max_tokens") or 0))
        reserved = self._pricer.cost(model, most, now)
        if reserved is None:  # a model without a price has no cap that could hold it
            self._metrics.swallowed("trial-price")
            return Untold("price")
        cap = round(tenant.routing.trials.usd_per_day * _NANO)
        if not await self._labels.spend(
            tenant.name, PURPOSE, reserved, cap=cap, period_s=_DAY_S, now=now
        ):
            self._metrics.swallowed("trial-cap")
            return Untold("cap")
        try:
            reply = await self._claude.create(Call(raw, headers, tenant=tenant.name))
            message = jsontext.loads(reply.body)
        except (UpstreamError, ValueError):
            await self._refund(tenant.name, reserved, now)
            self._metrics.swallowed("trial")
            return Untold("failed")
        if not isinstance(message, dict):
            self._metrics.swallowed("trial")
            return Untold("failed")
        bill = self._pricer.bill(message, now) if message.get("usage") else None
        cost = reserved if bill is None else bill.cost
        await self._refund(tenant.name, reserved - cost, now)
        self._journal.count(tenant.name, {"trials": 1, "trial_cost_nanodollars": cost})
        return Told(message, cost)

    async def spent(self, tenant: str) -> Nanodollars:
        """What is spent or reserved today. Raises `StoreError`."""
        return await self._labels.spent(tenant, PURPOSE, period_s=_DAY_S, now=self._clock())

    async def _refund(self, tenant: str, amount: Nanodollars, now: float) -> None:
        if amount > 0:
            await self._labels.refund(tenant, PURPOSE, amount, period_s=_DAY_S, now=now)
