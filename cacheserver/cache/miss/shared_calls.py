"""One call to Claude for equal misses on several servers.

Rule: only what may be stored is waited for, as it is read from the store. A request that must be
asked for itself, or on the key of its caller, neither waits nor is waited for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cacheserver.cache.miss.questions_elsewhere import QuestionsElsewhere
from cacheserver.cache.ports import Metrics
from cacheserver.cache.request import Request
from cacheserver.cache.ttl import lifetime
from cacheserver.core.errors import StoreError
from cacheserver.core.types import Bypass, Decision, Miss, Query
from cacheserver.peers.flights import FlightLeases, Note, Turn

_ALONE = Turn()


class SharedCalls:
    """The turns of this server's misses among those of all servers."""

    def __init__(
        self, flights: FlightLeases, elsewhere: QuestionsElsewhere, metrics: Metrics
    ) -> None:
        self._flights = flights
        self._elsewhere = elsewhere
        self._metrics = metrics

    @asynccontextmanager
    async def turn(self, request: Request) -> AsyncIterator[Turn]:
        """Wait for another server's call for the same, or hold the lease of this one.

        Without other servers there is nothing to wait for, and nothing is asked of the store.
        """
        if not self._flights.many or not may_share(request.query, request.decision):
            yield _ALONE
            return
        turn = await self._flights.turn(request.call_key, await self._note(request))
        try:
            yield turn
        finally:
            if turn.lease is not None:
                self._flights.release(turn.lease)

    async def _note(self, request: Request) -> Note | None:
        decision = request.decision
        if not isinstance(decision, Miss):
            return None
        try:
            return await self._elsewhere.note(request.query, request.call_key, decision.vector)
        except StoreError:
            self._metrics.swallowed("flights")
            return None


def may_share(query: Query, decision: Decision) -> bool:
    """Return whether a miss may be answered by what another server's call brings."""
    return (
        not isinstance(decision, Bypass)
        and decision.reason != "shadow"  # it is asked whatever is stored
        and query.controls.read
        and query.credential is None
        and not query.cheapest  # its answer is not stored
        and query.ttl_cap_s != 0
        and lifetime(query.controls, query.tenant, query.model) > 0
    )
