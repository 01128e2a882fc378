"""Calls that trials make: paid by the server, within a tenant's cap a day, counted.

Rule: the greatest cost of a call is reserved before it is made, so the cap is never exceeded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from cacheserver.cache.ports import Claude, DecisionLog, Metrics, Pricer
from cacheserver.calibration.labels import Labels
from cacheserver.claude import capabilities
from cacheserver.claude.upstream import Call
from cacheserver.core import json_text
from cacheserver.core.errors import UpstreamError
from cacheserver.core.types import Nanodollars, Tenant, Usage
from cacheserver.routing.model_catalogue import ModelCatalogue

PURPOSE: Final = "trial"
_DAY_S: Final = 86_400
_NANO: Final = 1_000_000_000

Why: TypeAlias = Literal["cap", "price", "capability", "unbounded", "failed"]


@dataclass(frozen=True, slots=True)
class TrialAnswer:
    """Answer of a trial call, with its cost."""

    message: Mapping[str, Any]
    cost: Nanodollars


@dataclass(frozen=True, slots=True)
class TrialFailure:
    """Reason why a trial call has no answer."""

    why: Why


class TrialCalls:
    """Asks Claude in the background."""

    def __init__(
        self,
        *,
        labels: Labels,
        catalogue: ModelCatalogue,
        claude: Claude,
        pricer: Pricer,
        decision_log: DecisionLog,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._labels = labels
        self._catalogue = catalogue
        self._claude = claude
        self._pricer = pricer
        self._journal = decision_log
        self._metrics = metrics
        self._clock = clock

    async def ask(
        self, tenant: Tenant, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> TrialAnswer | TrialFailure:
        """Return one answer, or why there is none. Failures are counted. Raises `StoreError`."""
        now, model = self._clock(), str(body["model"])
        able = capabilities.of(model, self._catalogue.abilities(now))
        needs = capabilities.needs(body)
        if capabilities.lacks(able, needs) is not None:
            return TrialFailure("capability")
        if needs.images:  # a page that is only named here may be any number of tokens
            return TrialFailure("unbounded")
        raw = json_text.dumps(body)
        # A token is at least a byte of the body.
        most = Usage(input_tokens=len(raw), output_tokens=int(body.get("max_tokens") or 0))
        reserved = self._pricer.cost(model, most, now)
        if reserved is None:  # a model without a price has no cap that could hold it
            self._metrics.swallowed("trial-price")
            return TrialFailure("price")
        cap = round(tenant.routing.trials.usd_per_day * _NANO)
        if not await self._labels.spend(
            tenant.name, PURPOSE, reserved, cap=cap, period_s=_DAY_S, now=now
        ):
            self._metrics.swallowed("trial-cap")
            return TrialFailure("cap")
        try:
            reply = await self._claude.create(Call(raw, headers, tenant=tenant.name))
            message = json_text.loads(reply.body)
        except (UpstreamError, ValueError):
            await self._refund(tenant.name, reserved, now)
            self._metrics.swallowed("trial")
            return TrialFailure("failed")
        if not isinstance(message, dict):
            self._metrics.swallowed("trial")
            return TrialFailure("failed")
        bill = self._pricer.bill(message, now) if message.get("usage") else None
        cost = reserved if bill is None else bill.cost
        await self._refund(tenant.name, reserved - cost, now)
        self._journal.count(tenant.name, {"trials": 1, "trial_cost_nanodollars": cost})
        return TrialAnswer(message, cost)

    async def spent(self, tenant: str) -> Nanodollars:
        """Return the amount spent or reserved today. Raises `StoreError`."""
        return await self._labels.spent(tenant, PURPOSE, period_s=_DAY_S, now=self._clock())

    async def _refund(self, tenant: str, amount: Nanodollars, now: float) -> None:
        if amount > 0:
            await self._labels.refund(tenant, PURPOSE, amount, period_s=_DAY_S, now=now)
