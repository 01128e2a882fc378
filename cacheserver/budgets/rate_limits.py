"""Rate limits of requests on arrival, and of misses before a call to Claude.

Rule: without a limit there is no round trip. Limits are counted in Redis for all servers; if Redis
is away or too slow, each server counts for itself. Where the limit is high, requests are taken
ahead, and let in only once they are taken: all servers together never let in more than the limit.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, Protocol, TypeAlias

from cacheserver.budgets import token_bucket
from cacheserver.budgets.rate_limit_store import BucketAmount, RateLimitStore, Seats
from cacheserver.budgets.rules import most
from cacheserver.budgets.token_bucket import Bucket
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
# for a second; what is left then is lost, a tenth of the limit at most.
_AHEAD, _AHEAD_S = 600, 1.0
_MOST_AHEAD = 1_000
_REFUSED_S = 0.1  # near the limit each request is asked for alone
_MOST = 10_000  # buckets in memory while the store is away, about 2 MB

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
    """Amounts and seats that a miss has taken. `here`: counted by this server alone."""

    buckets: tuple[BucketAmount, ...]
    seats: tuple[Seats, ...]
    here: bool


@dataclass(slots=True)
class _Share:
    """Requests that were taken from their buckets ahead. Times are the clock's."""

    left: int = 0
    until: float = -math.inf
    alone_until: float = -math.inf  # it was refused
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # one asks for all who wait


@dataclass(slots=True)
class _Here:
    """Count of this server alone."""

    clock: Callable[[], float]
    buckets: OrderedDict[str, Bucket] = field(default_factory=OrderedDict)
    seats: dict[str, set[str]] = field(default_factory=dict)

    def take(
        self, id: str, buckets: Sequence[BucketAmount], seats: Sequence[Seats]
    ) -> tuple[int, float] | None:
        now = self.clock()
        for place, one in enumerate(buckets):
            bucket = self.buckets.get(one.name)
            wait = token_bucket.wait_s(bucket, now, per_minute=one.per_minute, cost=one.amount)
            if wait > 0:
                return place, wait
        for place, of in enumerate(seats, len(buckets)):
            if len(self.seats.get(of.name, ())) >= of.most:
                return place, 1.0
        self._change([replace(one, amount=-one.amount) for one in buckets], now)
        for of in seats:
            self.seats.setdefault(of.name, set()).add(id)
        return None

    def give(self, id: str, buckets: Sequence[BucketAmount], seats: Sequence[Seats]) -> None:
        self._change(buckets, self.clock())
        for of in seats:
            if taken := self.seats.get(of.name):
                taken.discard(id)
                if not taken:
                    del self.seats[of.name]

    def _change(self, buckets: Sequence[BucketAmount], now: float) -> None:
        for one in buckets:
            bucket = self.buckets.pop(one.name, None)
            self.buckets[one.name] = token_bucket.adjust(
                bucket, now, per_minute=one.per_minute, by=one.amount
            )
        while len(self.buckets) > _MOST:
            self.buckets.popitem(last=False)


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
        self._here = _Here(clock)
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
        try:
            refused, here = await self._take(id, buckets, seats)
        except asyncio.CancelledError:  # it is unknown whether it was taken: return no tokens
            self._give(id, _Held((), seats, here=False), 0)
            raise
        if refused is not None:
            place, wait = refused
            if place < len(buckets):
                raise _error(of_tokens[place], "tokens_per_minute", wait)
            raise _error(of_seats[place - len(buckets)], "concurrent_misses", wait)
        self._held[id] = _Held(buckets, seats, here)
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
        """Stop renewing. Seats are free when their leases end."""
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
        """Take one request, from what was taken ahead if there is some; return the refusal."""
        ahead = min(_MOST_AHEAD, min(one.per_minute for one in buckets) // _AHEAD)
        share = self._share(buckets)
        if ahead > 1 and self._clock() >= share.alone_until:
            async with share.turn:
                if self._clock() < share.until and share.left > 0:
                    share.left -= 1
                    return None
                asked_at = self._clock()
                more = [replace(one, amount=ahead) for one in buckets]
                refused, _ = await self._take("", more, ())
                if refused is None:
                    share.left, share.until = ahead - 1, asked_at + _AHEAD_S
                    return None
                share.alone_until = self._clock() + _REFUSED_S
        return (await self._take("", buckets, ()))[0]

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
        unused = [replace(one, amount=one.amount - tokens) for one in held.buckets]
        if held.here:
            self._here.give(id, unused, held.seats)
        else:
            self._writes.do(partial(self._store.give, id, unused, held.seats))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._store.lease_s / 3)
            held = [
                (seats.name, id)
                for id, one in self._held.items()
                if not one.here
                for seats in one.seats
            ]
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
