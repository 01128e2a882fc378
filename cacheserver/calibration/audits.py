"""Audits: ask Claude the same question again, in the background, within a day's cap.

Rule: the cost is recorded before the answer is used, and a failed call refunds its reservation.
"""

from __future__ import annotations

from collections.abc import Callable

from cacheserver.cache import cacheability
from cacheserver.cache.ports import Claude, DecisionLog, Metrics, Pricer
from cacheserver.calibration.labels import Labels
from cacheserver.claude import sse
from cacheserver.claude.upstream import Call
from cacheserver.core import json_text
from cacheserver.core.errors import UpstreamError
from cacheserver.core.types import Entry, Nanodollars, Query

_DAY_S = 86_400


class Auditor:
    """Gets fresh answers to questions that were answered from the cache."""

    def __init__(
        self,
        *,
        labels: Labels,
        claude: Claude,
        pricer: Pricer,
        decision_log: DecisionLog,
        metrics: Metrics,
        clock: Callable[[], float],
        cap: Nanodollars,  # a day and tenant
    ) -> None:
        self._labels = labels
        self._claude = claude
        self._pricer = pricer
        self._journal = decision_log
        self._metrics = metrics
        self._clock = clock
        self.cap = cap

    async def ask(self, query: Query, like: Entry, *, count: str) -> bytes | None:
        """Return a fresh answer by the model that gave `like`, counted in the journal as `count`.

        None if the cap is reached, the answer is not storable or was made up by the simulated
        Claude, or the question came with the caller's own key. Raises `UpstreamError`,
        `StoreError`.
        """
        if query.credential is not None:  # a caller's own key pays for that caller's calls only
            return None
        tenant, now = query.tenant.name, self._clock()
        expected = 2 * (like.cost or 0)
        if not await self._labels.spend(
            tenant, "audit", expected, cap=self.cap, period_s=_DAY_S, now=now
        ):
            self._metrics.swallowed("audit-cap")
            return None
        body = json_text.dumps({**query.body, "model": like.model, "stream": False})
        try:
            reply = await self._claude.create(Call(body, query.headers, tenant=tenant))
        except UpstreamError:
            await self._labels.refund(tenant, "audit", expected, period_s=_DAY_S, now=now)
            raise
        message = json_text.loads(reply.body)
        bill = self._pricer.bill(message, now)
        cost = 0 if bill is None else bill.cost
        if cost < expected:
            await self._labels.refund(tenant, "audit", expected - cost, period_s=_DAY_S, now=now)
        self._journal.count(tenant, {count: 1, "audit_cost_nanodollars": cost})
        if cacheability.unstorable(message) is not None or cacheability.made_up(message):
            return None
        return sse.without_id(message)
