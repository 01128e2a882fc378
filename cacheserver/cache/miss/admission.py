"""Admission of a miss: rate limits and budgets, before Claude is asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from cacheserver.cache.answer import Settlement
from cacheserver.cache.budget_verdict import Reservation, Verdict, tokens
from cacheserver.cache.filled import Filled
from cacheserver.cache.ports import Budgets, RateLimits
from cacheserver.cache.request import Request
from cacheserver.cache.settlement import Settler
from cacheserver.core.errors import CallerError, RateLimited, UpstreamError
from cacheserver.core.types import Miss


class MissAdmission:
    """Admits requests that Claude has to answer, and releases what they held of the limits."""

    def __init__(self, *, limits: RateLimits, budgets: Budgets, settler: Settler) -> None:
        self._limits = limits
        self._budgets = budgets
        self._settler = settler

    async def admit(self, request: Request) -> None:
        """Admit a request; if a budget is spent it may be limited to the cheapest model.

        Raises `RateLimited`, `NotCached` and `OverBudget`, with the request settled.
        """
        try:
            await self._limits.miss(request.query, request.id)
        except RateLimited as limited:
            reason = limited.headers["x-cache-reason"]
            refused = Settlement(
                replace(request.decision, reason=reason), cost=0, saved=0, status=limited.status
            )
            headers = self._settler.settle(request, refused)
            await self._settler.recorded(request)
            raise RateLimited(limited.message, headers={**headers, **limited.headers}) from None
        try:
            match await self._budgets.admit(request.query, request.id, request.started_at):
                case Reservation(cheapest=True):
                    request.query = replace(request.query, cheapest=True)
                case Verdict() as verdict:
                    raise await self._refuse(request, verdict)
        except BaseException:
            self.release(request)
            raise

    async def _refuse(self, request: Request, verdict: Verdict) -> CallerError:
        kind = verdict.refusal
        near = request.decision if isinstance(request.decision, Miss) else Miss("budget")
        refused = Settlement(replace(near, reason="budget"), cost=0, saved=0, status=kind.status)
        headers = self._settler.settle(request, refused)
        await self._settler.recorded(request)
        return kind(verdict.message, headers={**headers, **verdict.headers})

    def release(self, request: Request) -> None:
        """Free what the request holds of the limits: it makes no call itself."""
        self._limits.ended(request.id)

    def release_after(self, call: asyncio.Task[Filled], request: Request) -> None:
        """Free what the request holds of the limits once its call has ended, less what it used."""
        call.add_done_callback(lambda done: self._limits.ended(request.id, _used(done)))


def _used(call: asyncio.Task[Filled]) -> int | None:
    """The tokens that a call took; None if not known."""
    if call.cancelled():
        return None
    match call.exception():
        case None:
            filled = call.result()
            return tokens(filled.usage) if filled.paid else 0
        case UpstreamError(lost=0):
            return 0
    return None
