"""One call to the verifying model, within the day's cap of its tenant and the share of its key.

Rule: the greatest cost is reserved before the call, and what it did not cost is refunded. The call
is made once: after a 429 or a failure the request is a miss.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from cacheserver.cache.ports import Claude, Metrics, Pricer
from cacheserver.claude.calls import Call
from cacheserver.core import json_text
from cacheserver.core.background import BackgroundWork
from cacheserver.core.errors import StoreError, UpstreamError
from cacheserver.core.types import Entry, Nanodollars, Query, Usage
from cacheserver.ledger.counterfactual import usage_for
from cacheserver.matching.verification_outcome import Verdict
from cacheserver.verification import prompt

_DAY_S = 86_400
_ALL = "verify"  # the purpose under which all of a tenant's calls are reserved
_BACKGROUND_S = 30.0  # without a caller's time limit: a hanging call holds one of few places


class Spending(Protocol):
    """Reservations of money within a day's cap. Failures raise `StoreError`."""

    async def spend(
        self,
        tenant: str,
        purpose: str,
        nanodollars: Nanodollars,
        *,
        cap: Nanodollars,
        period_s: int,
        now: float,
    ) -> bool: ...
    async def refund(
        self, tenant: str, purpose: str, nanodollars: Nanodollars, *, period_s: int, now: float
    ) -> None: ...
    async def spent(
        self, tenant: str, purpose: str, *, period_s: int, now: float
    ) -> Nanodollars: ...


@dataclass(frozen=True, slots=True)
class Reply:
    """Reply of the model. `index`: of the answer that serves; None: none does, or no reply."""

    verdict: Verdict
    index: int | None = None
    cost: Nanodollars = 0


class SharedReply:
    """Reply to a call that several requests may wait for: the first that takes it pays."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self._unpaid = reply.cost

    def charge(self) -> Nanodollars:
        """Return the cost of the call to one request, and 0 to the others."""
        cost, self._unpaid = self._unpaid, 0
        return cost


class ModelCall:
    """Calls the verifying model."""

    def __init__(
        self,
        *,
        claude: Claude,
        pricer: Pricer,
        spending: Spending,
        metrics: Metrics,
        clock: Callable[[], float],
        cap: Nanodollars,
        key_share: float,
        refunds: BackgroundWork,
    ) -> None:
        self._claude = claude
        self._pricer = pricer
        self._spending = spending
        self._metrics = metrics
        self._clock = clock
        self.cap = cap  # of a tenant's calls a day; 0: there are none
        self.key_share = key_share
        self._refunds = refunds  # for which nobody waits

    def expected(self, body: Mapping[str, Any]) -> Nanodollars:
        """Return the usual cost of a call; 0 if its model has no price."""
        usage = Usage(prompt.tokens_expected(body), prompt.USUAL_TOKENS)
        return self._pricer.cost(str(body["model"]), usage, self._clock()) or 0

    def replaced(self, query: Query, entry: Entry) -> Nanodollars:
        """Return what the answer costs that a stored one would replace; 0 if it is not known."""
        if query.controls.declared is None:
            return entry.cost or 0
        usage = usage_for(query, entry.usage, entry.model)
        return self._pricer.cost(entry.model, usage, self._clock()) or 0

    async def spent(self, tenant: str) -> Nanodollars:
        """Return what today's calls of a tenant cost. Raises `StoreError`."""
        return await self._spending.spent(tenant, _ALL, period_s=_DAY_S, now=self._clock())

    def _most(self, body: Mapping[str, Any]) -> Nanodollars | None:
        usage = Usage(prompt.tokens_at_most(body), prompt.MAX_TOKENS)
        return self._pricer.cost(str(body["model"]), usage, self._clock())

    async def ask(
        self, query: Query, body: Mapping[str, Any], stored: int, *, background: bool
    ) -> Reply:
        """Ask which of `stored` answers serves. Raises nothing but cancellation.

        A call that was sent and cancelled may be billed: its reservation stands.
        """
        now, reserved = self._clock(), self._most(body)
        if reserved is None:
            return self._without("price")
        try:
            if not await self._reserve(query, reserved, now):
                return Reply("capped")
        except StoreError:
            return self._without("store")
        call = Call(
            json_text.dumps(body),
            query.headers if query.credential is not None else {},
            credential=query.credential,
            tenant=query.tenant.name,
            timeout_s=_BACKGROUND_S if background else None,
            background=background,
            retries=0,
        )
        try:
            reply = await self._claude.create(call)
            message = json_text.loads(reply.body)
        except asyncio.CancelledError:
            if not call.tries.unanswered:  # it waited for a slot
                self._refunds.do(partial(self._refund, query, reserved, now))
            raise
        except UpstreamError as error:
            if not error.lost:  # else Claude may bill it: the reservation stands
                await self._refund(query, reserved, now)
            return self._without("claude")
        except ValueError:
            return self._without("claude")
        if not isinstance(message, dict) or not isinstance(message.get("usage"), dict):
            return self._without("claude")
        if (bill := self._pricer.bill(message, now)) is None:  # another model than that asked for
            return self._without("price")
        cost = bill.cost
        await self._refund(query, reserved - cost, now)
        index = prompt.choice(message, stored)
        return Reply("no" if index is None else "yes", index, cost)

    def _without(self, site: str) -> Reply:
        self._metrics.swallowed(f"verify-{site}")
        return Reply("failed")

    async def _reserve(self, query: Query, amount: Nanodollars, now: float) -> bool:
        tenant, own = query.tenant.name, _purpose(query)
        if query.credential is not None:  # the caller pays
            return True
        share = round(self.cap * self.key_share)
        if own is not None and not await self._spending.spend(
            tenant, own, amount, cap=share, period_s=_DAY_S, now=now
        ):
            return False
        admitted = False
        try:
            admitted = await self._spending.spend(
                tenant, _ALL, amount, cap=self.cap, period_s=_DAY_S, now=now
            )
        finally:  # refused, or the store failed, or the caller left
            if own is not None and not admitted:
                self._refunds.do(partial(self._give_back, tenant, own, amount, now))
        return admitted

    async def _refund(self, query: Query, amount: Nanodollars, now: float) -> None:
        if amount <= 0 or query.credential is not None:
            return
        try:
            for purpose in filter(None, (_ALL, _purpose(query))):
                await self._give_back(query.tenant.name, purpose, amount, now)
        except StoreError:  # the cap is used up early, at worst
            self._metrics.swallowed("verify-store")

    async def _give_back(self, tenant: str, purpose: str, amount: Nanodollars, now: float) -> None:
        await self._spending.refund(tenant, purpose, amount, period_s=_DAY_S, now=now)


def _purpose(query: Query) -> str | None:
    return None if query.key_id is None else f"verify:{query.key_id}"
