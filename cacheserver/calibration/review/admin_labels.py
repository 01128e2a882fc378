"""Labels that people gave, by pair: none is asked about twice, and the last can be undone.

Ids and digests only; the texts are those of decisions and of the review store. A tenant's newest
`most`, each for `LIFE_S`.

Every method raises `StoreError` when the store fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal, TypeAlias

from cacheserver.storage.connection import PREFIX, Connection, command, store_errors
from cacheserver.storage.json_values import decode_object, encode_object, tenant_key

Verdict: TypeAlias = Literal["yes", "no", "skip"]

LIFE_S: Final = 30 * 86_400  # as long as an answer may be kept at most, and so be met again

_MAX_VALUE = 4_096  # bytes


@dataclass(frozen=True, slots=True)
class AdminLabel:
    """Verdict of a person on a pair, and what it changed."""

    nonce: str  # its effects count once, also if they are repeated after a failure
    pair: str  # id of the pair in the queue
    verdict: Verdict
    at: float
    who: str
    scope: str
    fingerprint: str
    entry: str
    group: str = ""  # of the entry
    label: str | None = None  # id in the scope's window; None: it did not count there
    condemned: bool = False  # it made the tombstone
    blamed: bool = False  # it counted as a wrong hit of the entry
    done: bool = False  # False: begun; its effects may be missing


def digest_of(fingerprint: str, entry: str) -> str:
    """Return the name of a pair; its parts are digests and ids already."""
    return hashlib.sha256(f"{len(fingerprint)}:{fingerprint}:{entry}".encode()).hexdigest()[:32]


class AdminLabels:
    """Labels of people in Redis, by tenant and pair."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX, most: int = 10_000) -> None:
        self._redis = redis
        self._prefix = prefix
        self._most = most

    async def of(self, tenant: str, digests: Sequence[str]) -> dict[str, AdminLabel]:
        """Return the labels of these pairs, by digest."""
        if not digests:
            return {}
        values = await command(self._redis, "HMGET", self._labels(tenant), *digests)
        return {
            digest: _decode(value)
            for digest, value in zip(digests, values, strict=True)
            if value is not None
        }

    async def begin(self, tenant: str, label: AdminLabel) -> AdminLabel:
        """Note a label before it takes effect; return it, or the one that is noted already."""
        digest, value = digest_of(label.fingerprint, label.entry), _encode(label)
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hsetnx(self._labels(tenant), digest, value)
                pipe.expire(self._labels(tenant), LIFE_S)  # also if nothing follows
                new, _ = await pipe.execute()
        if new:
            return label
        found = await self.of(tenant, [digest])
        return found.get(digest, label)

    async def put(self, tenant: str, label: AdminLabel) -> None:
        """Store a label, dropping those that are too many or too old."""
        digest = digest_of(label.fingerprint, label.entry)
        labels, times = self._labels(tenant), self._times(tenant)
        old = await command(
            self._redis, "ZRANGEBYSCORE", times, "-inf", repr(label.at - LIFE_S), "LIMIT", 0, 100
        )
        many = await command(self._redis, "ZRANGE", times, 0, -self._most)
        gone = {*old, *many} - {digest.encode()}
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                if gone:
                    pipe.hdel(labels, *gone)
                    pipe.zrem(times, *gone)
                pipe.hset(labels, digest, _encode(label))
                pipe.zadd(times, {digest: label.at})
                pipe.expire(labels, LIFE_S)
                pipe.expire(times, LIFE_S)
                await pipe.execute()

    async def last(self, tenant: str) -> AdminLabel | None:
        """Return the label given last."""
        (*_, digest) = await command(self._redis, "ZRANGE", self._times(tenant), -1, -1) or [None]
        if digest is None:
            return None
        return (await self.of(tenant, [digest.decode()])).get(digest.decode())

    async def remove(self, tenant: str, label: AdminLabel) -> None:
        """Forget a label."""
        digest = digest_of(label.fingerprint, label.entry)
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hdel(self._labels(tenant), digest)
                pipe.zrem(self._times(tenant), digest)
                await pipe.execute()

    def _labels(self, tenant: str) -> str:
        return f"{self._prefix}adminlabels:{tenant_key(tenant)}"

    def _times(self, tenant: str) -> str:
        return f"{self._prefix}adminlabeltimes:{tenant_key(tenant)}"


def _encode(label: AdminLabel) -> bytes:
    return encode_object("a label", asdict(label), most=_MAX_VALUE)


def _decode(value: bytes) -> AdminLabel:
    return AdminLabel(**decode_object("a label", value))
