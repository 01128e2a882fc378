"""Claude asked the same again, in the background, within the day's cap for audits.

Rule: what was paid is counted before anything is made of the answer, and a call that failed gives
back what was reserved for it.
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
    """Fresh answers to questions that were answered before."""

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
        self._cap = cap

    async def ask(self, query: Query, like: Entry, *, count: str) -> bytes | None:
        """A fresh answer by the model that gave `like`, counted in the journal as `count`.

        None where the cap is reached, the answer is not storable or was made up by the simulated
        Claude, or the caller's own key asked.
        Raises `UpstreamError`, `StoreError`.
        """
        if query.credential is not None:  # never on a caller's own key behind their back
            return None
        tenant, now = query.tenant.name, self._clock()
        expected = 2 * (like.cost or 0)
        if not await self._labels.spend(
            tenant, "audit", expected, cap=self._cap, period_s=_DAY_S, now=now
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
