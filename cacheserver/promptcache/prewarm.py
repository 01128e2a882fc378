"""Pre-warms listed prefixes in Claude's cache, one server at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from cacheserver.cache.ports import Bill, Metrics
from cacheserver.claude.upstream import Call, Reply
from cacheserver.core import json_text
from cacheserver.core.background import one_round
from cacheserver.core.errors import StoreError, Unavailable, UpstreamError
from cacheserver.core.rules.caching import Warm
from cacheserver.core.single_flight import end
from cacheserver.core.types import API_VERSION, Mark, Tenant
from cacheserver.peers.work_lease import ALONE, Lease
from cacheserver.promptcache import prewarm_rules
from cacheserver.promptcache import salt as prompt_salt
from cacheserver.promptcache.layout import lay_out, with_marks
from cacheserver.promptcache.planner import PrefixUpdate
from cacheserver.promptcache.prefixes import Prefixes, PromptCacheUse
from cacheserver.promptcache.session import Salt

logger = logging.getLogger(__name__)

_HEADERS = {"anthropic-version": API_VERSION, "content-type": "application/json"}


class Claude(Protocol):
    async def create(self, call: Call) -> Reply: ...


class Tenants(Protocol):
    async def list_tenants(self) -> Sequence[Tenant]: ...


class Pricer(Protocol):
    def bill(self, message: Mapping[str, Any], now: float) -> Bill | None: ...


class Prewarmer:
    """Keeps tenants' listed prefixes warm. Failures are counted, and retried in the next slot."""

    def __init__(
        self,
        *,
        claude: Claude,
        tenants: Tenants,
        prefixes: Prefixes,
        pricer: Pricer,
        metrics: Metrics,
        clock: Callable[[], float],
        salt: Salt | None = None,
        lease: Lease = ALONE,
    ) -> None:
        self._lease = lease
        self._salt = salt
        self._claude = claude
        self._tenants = tenants
        self._prefixes = prefixes
        self._pricer = pricer
        self._metrics = metrics
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep(), name="prompts:prewarm")

    async def close(self) -> None:
        """Stop. A prefix that is being written is paid for and may still be read."""
        if self._task is not None:
            await end(self._task)
            self._task = None

    async def round(self) -> int:
        """Make the calls that are due; return how many this server made.

        Raises `StoreError`.
        """
        made = 0
        for tenant in await self._tenants.list_tenants():
            for warm in tenant.caching.prewarm if tenant.caching.enabled else ():
                made += await self._warm(tenant.name, warm, salts=tenant.caching.salt)
        return made

    async def _warm(self, tenant: str, warm: Warm, *, salts: bool) -> bool:
        now = self._clock()
        slot = prewarm_rules.slot(warm, now)
        if slot is None:
            return False
        if not await self._prefixes.take_slot(tenant, warm.name, slot, prewarm_rules.every_s(warm)):
            return False
        plain, place = prewarm_rules.body(warm), 0
        if salts and self._salt is not None:  # as requests are, or they would not find it
            try:
                plain, place = prompt_salt.salted(plain, await self._salt(tenant)), 1
            except Unavailable:
                self._metrics.swallowed("prewarm")
                return False
        marked = with_marks(plain, [Mark(("system", place), warm.ttl)])
        try:
            reply = await self._claude.create(
                Call(json_text.dumps(marked), _HEADERS, tenant=tenant)
            )
            message = json_text.loads(reply.body)
        except (UpstreamError, ValueError):
            self._metrics.swallowed("prewarm")
            return True
        layout = lay_out(plain, warm.model, _HEADERS)
        bookings = [
            PrefixUpdate(spot.prefix, 0.0, True, warm.ttl)
            for spot in layout.spots
            if spot.path == ("system", place)
        ]
        await self._prefixes.book(tenant, bookings, now)
        bill = self._pricer.bill(message, now)
        cost = 0 if bill is None else bill.cost
        await self._prefixes.count([(tenant, PromptCacheUse(warmed=1, warm_cost=cost), now)])
        return True

    async def _keep(self) -> None:
        while True:
            try:
                with one_round():
                    if self._lease.held:
                        await self.round()
            except StoreError:
                self._metrics.swallowed("prewarm")
            except Exception as error:  # the task boundary: what one round met, the next may not
                self._metrics.swallowed("prewarm")
                logger.warning("pre-warming failed: %s", type(error).__name__)
            await asyncio.sleep(prewarm_rules.TICK_S)
