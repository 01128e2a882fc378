"""Rate limits of requests on arrival, and of misses before a call to Claude.

Rule: without a limit there is no round trip. Limits are counted in Redis for all servers; if Redis
is away or too slow, each server counts for itself. Where the limit is high, requests and tokens are
taken ahead, and a seat that has become free is kept for the next miss. Nothing is let in before it
is taken: all servers together never let in more than the limit.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol, TypeAlias

from cacheserver.budgets.idle_seats import IdleSeats
from cacheserver.budgets.local_limits import LocalLimits
from cacheserver.budgets.rate_limit_store import BucketAmount, RateLimitStore, Seats
from cacheserver.budgets.rules import most
from cacheserver.cache.ports import Metrics
from cacheserver.core.background import BackgroundWork
from cacheserver.core.errors import RateLimited, StoreError
from cacheserver.core.rules.limits import Limits
from cacheserver.core.single_flight import end
from cacheserver.core.types import Query, Tenant
from cacheserver.storage.deadline import Limit
from cacheserver.storage.json_values import tenant_key

_SITE = "rate-limit"
_PATIENCE_S = 0.25  # for the store; beyond it this server's own count is used
_AWAY_S = 1.0  # a store that failed is not used again sooner
# A limit's tenth of a second is taken at once, where that is more than one request, and let in here
# for a second; what is left then is lost, a tenth of the limit at most. Tokens likewise, where that
# is enough for two misses.
_AHEAD, _AHEAD_S = 600, 1.0
_SUMMED_S = 1.0  # tokens of those that a miss did not use are summed for so long
_MOST_AHEAD = 1_000
_REFUSED_S = 0.1  # near the limit each request is asked for alone
_MOST = 10_000  # limits that are taken ahead

Which: TypeAlias = Literal["requests_per_minute", "concurrent_misses", "tokens_per_minute"]

_REASONS = {
    "requests_per_minute": "limit-requests",
    "concurrent_misses": "limit-misses",
    "tokens_per_minute": "limit-tokens",
}


class Keys(Protocol):
    def limits_of(self, key_id: str | None) -> Limits | None: ...


@dataclass(frozen=True, slots=True)
class _Party:
    """Tenant or key with its limits."""

    label: str  # in the refusal
    name: str  # in Redis
    limits: Limits


@dataclass(frozen=True, slots=True)
class _Held:
    """Amounts and seats that a miss has taken.

    `here`: the amounts are counted by this server alone; `ahead`: they were taken ahead. `seat` is
    the id under which the store has the seats; None: they are counted by this server alone.
    """

    buckets: tuple[BucketAmount, ...]
    seats: tuple[Seats, ...]
    seat: str | None
    seat_at: float  # when it was taken, by the clock
    here: bool = False
    ahead: bool = False


@dataclass(slots=True)
class _Share:
    """Requests or tokens that were taken from their buckets ahead. Times are the clock's."""

    left: int = 0
    asked_at: float = -math.inf
    until: float = -math.inf
    alone_until: float = -math.inf  # it was refused
    asking: asyncio.Event | None = None  # one asks for all who wait; set when it has


class RateLimits:
    """Rate limiter of requests and misses."""

    def __init__(
        self,
        store: RateLimitStore,
        *,
        keys: Keys,
        metrics: Metrics,
        writes: BackgroundWork,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._keys = keys
        self._metrics = metrics
        self._writes = writes
        self._clock = clock
        self._here = LocalLimits(clock)
        self._idle = IdleSeats(lambda id, seats: self._return(id, (), seats), store.lease_s)
        self._unused: dict[tuple[str, int], int] = {}  # tokens to return, by bucket and its limit
        self._summing: asyncio.TimerHandle | None = None
        self._shares: OrderedDict[tuple[tuple[str, int], ...], _Share] = OrderedDict()
        self._away_until = -math.inf
        self._held: dict[str, _Held] = {}
        self._renewing: asyncio.Task[None] | None = None

    async def request(self, tenant: Tenant, key_id: str | None) -> None:
        """Count a request. Raises `RateLimited`."""
        parties = self._parties(tenant, key_id)
        limited = [(one, one.limits.requests_per_minute) for one in parties]
        buckets = [
            BucketAmount(f"r:{party.name}", limit, 1)
            for party, limit in limited
            if limit is not None
        ]
        if not buckets:
            return
        refused = await self._take_request(buckets)
        if refused is not None:
            place, wait = refused
            party = [one for one, limit in limited if limit is not None][place]
            raise _error(party, "requests_per_minute", wait)

    async def miss(self, query: Query, id: str) -> None:
        """Admit a miss until `ended`, with the most tokens it can use. Raises `RateLimited`."""
        parties = self._parties(query.tenant, query.key_id)
        of_tokens = [one for one in parties if one.limits.tokens_per_minute is not None]
        of_seats = [one for one in parties if one.limits.concurrent_misses is not None]
        if not of_tokens and not of_seats:
            return
        cost = most(query.body, query.model, lambda *_: None).tokens if of_tokens else 0
        buckets = tuple(
            BucketAmount(f"t:{one.name}", one.limits.tokens_per_minute or 1, cost)
            for one in of_tokens
        )
        seats = tuple(Seats(one.name, one.limits.concurrent_misses or 1) for one in of_seats)
        refused = await self._take_miss(id, buckets, seats)
        if refused is not None:
            place, wait = refused
            if place < len(buckets):
                raise _error(of_tokens[place], "tokens_per_minute", wait)
            raise _error(of_seats[place - len(buckets)], "concurrent_misses", wait)
        if seats and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.create_task(self._renew(), name="limits:renew")

    def ended(self, id: str, tokens: int | None = 0) -> None:
        """Free what a miss has taken, except the `tokens` it used. Never blocks.

        None: the number is unknown, and no tokens are returned.
        """
        if (held := self._held.pop(id, None)) is not None:
            if tokens is None:
                held, tokens = replace(held, buckets=()), 0
            self._give(id, held, tokens)

    async def close(self) -> None:
        """Stop renewing, and return what is kept. Seats in use are free when their leases end."""
        self._idle.clear()
        self._return_unused()
        if self._renewing is not None:
            await end(self._renewing)
            self._renewing = None

    def _parties(self, tenant: Tenant, key_id: str | None) -> list[_Party]:
        found = []
        # Callers with Anthropic keys of their own share the limits of their tenant.
        name = tenant.configured_name
        if tenant.limits != Limits():
            found.append(_Party(name, tenant_key(name), tenant.limits))
        own = self._keys.limits_of(key_id)
        if own is not None:
            found.append(_Party(f"{name}/{key_id}", f"{tenant_key(name)}:{key_id}", own))
        return found

    async def _take_request(self, buckets: Sequence[BucketAmount]) -> tuple[int, float] | None:
        """Take one request, and return the refusal."""
        if await self._take_ahead(buckets, most=_MOST_AHEAD):
            return None
        return (await self._take("", buckets, ()))[0]

    async def _take_miss(
        self, id: str, buckets: tuple[BucketAmount, ...], seats: tuple[Seats, ...]
    ) -> tuple[int, float] | None:
        """Take what a miss needs and note it, or return the refusal."""
        idle = self._idle.take(seats) if seats else None
        seat, seat_at = idle or (id, self._clock())
        wanted = seats if idle is None else ()
        refused, here = None, False
        try:
            ahead = bool(buckets) and await self._take_ahead(buckets)
            rest = () if ahead else buckets
            if rest or wanted:
                refused, here = await self._take(id, rest, wanted)
        except asyncio.CancelledError:  # it is unknown whether it was taken: return no tokens
            self._return(seat, (), seats)
            raise
        if refused is None:
            of_store = None if here and wanted else seat
            self._held[id] = _Held(buckets, seats, of_store, seat_at, here and bool(rest), ahead)
            return None
        if idle is not None and not self._idle.keep(seats, seat, seat_at, self._clock()):
            self._return(seat, (), seats)
        if ahead:
            self._sum_unused(buckets)
        place, wait = refused
        return place + len(buckets) - len(rest), wait

    async def _take_ahead(self, buckets: Sequence[BucketAmount], *, most: float = math.inf) -> bool:
        """Take amounts of those taken ahead, of which new ones may be taken; False: ask alone.

        Alone goes also what comes first after a pause, because little may follow it.
        """
        cost = buckets[0].amount
        ahead = int(min(most, min(one.per_minute for one in buckets) // _AHEAD))
        if ahead < 2 * cost:
            return False
        share = self._share(buckets)
        while True:
            now = self._clock()
            paused, share.asked_at = now - share.asked_at > _AHEAD_S, now
            if now < share.until and share.left >= cost:
                share.left -= cost
                return True
            if paused or now < share.alone_until:
                return False
            if share.asking is None:
                return await self._ask_ahead(share, buckets, cost, ahead)
            # Not a lock: it wakes one in each turn of the event loop, and a queue might never end.
            await share.asking.wait()

    async def _ask_ahead(
        self, share: _Share, buckets: Sequence[BucketAmount], cost: int, ahead: int
    ) -> bool:
        share.asking = asyncio.Event()
        try:
            now = self._clock()
            more = [replace(one, amount=ahead) for one in buckets]
            refused, here = await self._take("", more, ())
            if refused is None and not here:
                share.left, share.until = ahead - cost, now + _AHEAD_S
                return True
            if refused is None:  # this server's own count, of which nothing is taken ahead
                self._here.give("", more, ())
            share.alone_until = self._clock() + _REFUSED_S
            return False
        finally:
            share.asking.set()
            share.asking = None

    def _share(self, buckets: Sequence[BucketAmount]) -> _Share:
        key = tuple([(one.name, one.per_minute) for one in buckets])
        found = self._shares.get(key)
        if found is None:
            found = self._shares[key] = _Share()
            if len(self._shares) > _MOST:
                self._shares.popitem(last=False)
        return found

    async def _take(
        self, id: str, buckets: Sequence[BucketAmount], seats: Sequence[Seats]
    ) -> tuple[tuple[int, float] | None, bool]:
        """Return the refusal, if any, and whether this server's own count was used."""
        if self._clock() >= self._away_until:
            try:
                async with Limit(_PATIENCE_S):
                    return await self._store.take(id, buckets, seats), False
            except (StoreError, TimeoutError):
                self._metrics.swallowed(_SITE)
                self._away_until = self._clock() + _AWAY_S
        return self._here.take(id, buckets, seats), True

    def _give(self, id: str, held: _Held, tokens: int) -> None:
        unused = tuple([replace(one, amount=one.amount - tokens) for one in held.buckets])
        if held.here:
            self._here.give(id, unused, ())
            unused = ()
        elif held.ahead and all(one.amount >= 0 for one in unused):
            self._sum_unused(unused)
            unused = ()
        if held.seat is None:
            self._here.give(id, (), held.seats)
            self._return(id, unused, ())
        elif held.seats and self._idle.keep(held.seats, held.seat, held.seat_at, self._clock()):
            self._return(held.seat, unused, ())
        else:
            self._return(held.seat, unused, held.seats)

    def _sum_unused(self, buckets: Sequence[BucketAmount]) -> None:
        for one in buckets:
            key = (one.name, one.per_minute)
            self._unused[key] = self._unused.get(key, 0) + one.amount
        if self._summing is None:
            loop = asyncio.get_running_loop()
            self._summing = loop.call_later(_SUMMED_S, self._return_unused)

    def _return_unused(self) -> None:
        if self._summing is not None:
            self._summing.cancel()
            self._summing = None
        unused, self._unused = self._unused, {}
        self._return("", [BucketAmount(*key, amount) for key, amount in unused.items()], ())

    def _return(self, id: str, buckets: Sequence[BucketAmount], seats: Sequence[Seats]) -> None:
        if buckets or seats:
            self._writes.do(partial(self._store.give, id, buckets, seats))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._store.lease_s / 3)
            held = self._idle.held()
            for one in self._held.values():
                if one.seat is not None:
                    held += [(seats.name, one.seat) for seats in one.seats]
            if not held:
                return
            try:
                await self._store.renew(held)
            except StoreError:
                self._metrics.swallowed(_SITE)


def _error(party: _Party, which: Which, wait_s: float) -> RateLimited:
    seconds = max(1, math.ceil(wait_s))
    limit = getattr(party.limits, which)
    limited = which.replace("_", " ")
    return RateLimited(
        f"the limit of {party.label} is reached: {limit} {limited}; try again in {seconds} s",
        headers={
            "retry-after": str(seconds),
            "x-cache-reason": _REASONS[which],
            "x-limit": f"{party.label}/{which}",
        },
    )
