"""Rate limits as one server counts them for itself while the store is away."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from cacheserver.budgets import token_bucket
from cacheserver.budgets.rate_limit_store import BucketAmount, Seats
from cacheserver.budgets.token_bucket import Bucket

_MOST = 10_000  # buckets in memory, about 2 MB


@dataclass(slots=True)
class LocalLimits:
    """Buckets and seats of this server alone."""

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
