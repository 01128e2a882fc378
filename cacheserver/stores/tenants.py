"""Who may ask, and what was set for them: hashed API keys and tenants' settings, in Redis.

Rule: a request seen a moment ago costs no round trip. What was read is believed for `FRESH_S`
seconds, so a key that is revoked stops within that; with Redis away for `GRACE_S`, and no longer.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Generic, TypeVar

import orjson

from cacheserver.errors import BadRequest, NotFound, StoreError, Unavailable
from cacheserver.policy.controls import name as checked_name
from cacheserver.stores.connection import PREFIX, Connection, store_errors
from cacheserver.stores.tenantjson import decode, encode
from cacheserver.types import Tenant

KEY_MARK = "cs_"  # tells a key of ours from Anthropic's `sk-ant-...`, to people and to scanners
FRESH_S = 3.0
# Long enough to restart a Redis or move it; a revocation cannot be recorded meanwhile anyway.
GRACE_S = 900.0

_REMEMBERED = 10_000  # keys and tenants kept in memory, some 5 MB
_MAX_LABEL = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key. The key itself is not."""

    id: str  # of its hash, so that it says nothing about the key
    tenant: str
    label: str
    created_at: float


class Tenants:
    """The keys and the tenants. `defaults` is what holds for a tenant nothing was set for.

    `clock` counts seconds for what is remembered; `now` is Unix time for what is recorded.
    """

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        defaults: Tenant,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        swallowed: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._redis = redis
        self._swallowed = swallowed
        self._keys = f"{prefix}keys"
        self._tenants = f"{prefix}tenants"
        self._secret = f"{prefix}secret"
        self._defaults = defaults
        self._now = now
        self._found = _Remembered[ApiKey](clock)
        self._read = _Remembered[Tenant](clock)
        self._closed = _Remembered[bool](clock)
        self._hmac: bytes | None = None

    async def create_key(self, tenant: str, label: str = "") -> tuple[ApiKey, str]:
        """Return a new key's record and the key itself, which is not to be had again.

        Raises `BadRequest` for a name or label that will not do, and `StoreError`.
        """
        checked_name("tenant", tenant)
        if len(label) > _MAX_LABEL or not label.isprintable():
            raise BadRequest("label", f"must be at most {_MAX_LABEL} printable characters")
        plain = KEY_MARK + secrets.token_urlsafe(32)
        digest = _digest(plain)
        key = ApiKey(digest[:16], tenant, label, round(self._now(), 3))
        with store_errors():
            await self._redis.hset(self._keys, digest, orjson.dumps(asdict(key)))
        self._closed.forget("")
        return key, plain

    async def revoke_key(self, key_id: str) -> ApiKey:
        """Forget a key: no process takes it after `FRESH_S`. Raises `NotFound` and `StoreError`."""
        with store_errors():
            for digest, record in (await self._redis.hgetall(self._keys)).items():
                key = _api_key(record)
                if key.id == key_id:
                    await self._redis.hdel(self._keys, digest)
                    self._found.forget(_text(digest))
                    self._closed.forget("")
                    return key
        raise NotFound(f"there is no key {key_id[:64]!r}; `cacheserver key list` shows those")

    async def list_keys(self) -> list[ApiKey]:
        """Every key, the oldest first."""
        with store_errors():
            records = await self._redis.hvals(self._keys)
        return sorted((_api_key(r) for r in records), key=lambda k: k.created_at)

    async def any_keys(self) -> bool:
        """True `FRESH_S` after the first key was made, or sooner.

        Raises `Unavailable` where that cannot be told.
        """

        async def ask() -> bool:
            return bool(await self._redis.hlen(self._keys))

        return bool(await self._closed.get("", ask))

    async def key(self, plain: str) -> ApiKey | None:
        """The record of a key that was presented; None where we gave out no such key.

        Raises `Unavailable` with Redis away, unless the key was seen in the last `GRACE_S`.
        """
        if not plain.startswith(KEY_MARK):
            return None
        digest = _digest(plain)

        async def ask() -> ApiKey | None:
            record = await self._redis.hget(self._keys, digest)
            return None if record is None else _api_key(record)

        return await self._found.get(digest, ask)

    async def get(self, tenant: str) -> Tenant:
        """A tenant's settings, the defaults where none were put. Never raises.

        Where they cannot be read and never were, the tightest: nothing is stored, nothing matched,
        and nothing shared with requests made under the settings that hold.
        """

        async def ask() -> Tenant:
            return await self._load(tenant)

        try:
            found = await self._read.get(tenant, ask)
        except Unavailable:
            found = None
        return found or replace(
            self._defaults,
            name=tenant,
            default_ttl_s=0,
            max_ttl_s=0,
            stale_s=0,
            ttl_rules=(),
            semantic=False,
            routing_epoch=-1,
        )

    async def put(self, tenant: Tenant) -> None:
        """Set what holds for a tenant, in every process within `FRESH_S`.

        Raises `BadRequest` naming the field that will not do, and `StoreError`.
        """
        record = encode(tenant)
        with store_errors():
            await self._redis.hset(self._tenants, tenant.name, record)
        self._read.forget(tenant.name)

    async def list_tenants(self) -> list[Tenant]:
        """Every tenant that has settings or a key, by name."""
        with store_errors():
            stored = await self._redis.hgetall(self._tenants)
        named = {_text(name): record for name, record in stored.items()}
        found = {name: self._decode(name, record) for name, record in named.items()}
        for key in await self.list_keys():
            found.setdefault(key.tenant, replace(self._defaults, name=key.tenant))
        return [found[name] for name in sorted(found)]

    async def names(self) -> set[str]:
        """The names of all tenants that have settings or a key. Raises `StoreError`."""
        with store_errors():
            stored = await self._redis.hkeys(self._tenants)
        return {*map(_text, stored), *(key.tenant for key in await self.list_keys())}

    async def pseudonym(self, credential: str) -> str:
        """What stands for a caller's own credential: the same for all servers on this Redis.

        An HMAC, for with a bare hash whoever reads the store could test a key they suspect.
        Raises `Unavailable` where the secret cannot be read and never was.
        """
        if self._hmac is None:
            try:
                with store_errors():
                    await self._redis.setnx(self._secret, secrets.token_hex(32))
                    secret = await self._redis.get(self._secret)
            except StoreError as error:
                raise Unavailable("callers cannot be told apart: the store is away") from error
            if not secret:  # flushed in between: an HMAC without a key would be a bare hash
                raise Unavailable("callers cannot be told apart: their secret is gone")
            self._hmac = _text(secret).encode()
        return hmac.digest(self._hmac, credential.encode(), "sha256")[:16].hex()

    async def _load(self, tenant: str) -> Tenant:
        record = await self._redis.hget(self._tenants, tenant)
        if record is None:
            return replace(self._defaults, name=tenant)
        return self._decode(tenant, record)

    def _decode(self, tenant: str, record: bytes | str) -> Tenant:
        try:
            return decode(tenant, record, self._defaults, lambda _: self._swallowed("unknown-veto"))
        except (BadRequest, ValueError) as error:
            raise StoreError(f"the settings kept for tenant {tenant} make no sense") from error


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    value: T
    read_at: float
    ask_at: float  # when to read it again


class _Remembered(Generic[T]):
    """What was read from Redis lately. What was absent is not remembered: it may be new."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept[T]] = {}

    async def get(self, name: str, ask: Callable[[], Awaitable[T | None]]) -> T | None:
        """What is known of `name`, asking where that is too old. Raises `Unavailable`."""
        # Before asking: what changes while the answer is on its way is seen in time too.
        now = self._clock()
        kept = self._kept.get(name)
        if kept is not None and now < kept.ask_at:
            return kept.value
        try:
            with store_errors():
                found = await ask()
        except StoreError as error:
            if kept is None or now - kept.read_at >= GRACE_S:
                raise Unavailable("who is asking cannot be told: the store is away") from error
            # A store that hangs must not hold up every request until it is back.
            self._kept[name] = replace(kept, ask_at=now + FRESH_S)
            return kept.value
        self.forget(name)
        if found is not None:
            if len(self._kept) >= _REMEMBERED:
                del self._kept[next(iter(self._kept))]  # the one read longest ago
            self._kept[name] = _Kept(found, now, now + FRESH_S)
        return found

    def forget(self, name: str) -> None:
        self._kept.pop(name, None)


def _api_key(record: bytes | str) -> ApiKey:
    try:
        kept = orjson.loads(record)
        return ApiKey(kept["id"], kept["tenant"], kept["label"], kept["created_at"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError("a key's record makes no sense") from error


def _text(reply: bytes | str) -> str:
    return reply if isinstance(reply, str) else reply.decode()


def _digest(plain: str) -> str:
    """A plain hash will do: 256 random bits are not guessed, so there is nothing to slow down."""
    return hashlib.sha256(plain.encode()).hexdigest()
