"""Tenants: their settings in Redis, and their API keys.

Rule: settings read a moment ago cost no round trip; see `tenants.grace_cache`.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from redis.exceptions import WatchError

from cacheserver.core.background import BackgroundWork
from cacheserver.core.errors import BadRequest, KeyLost, SettingsDamaged, StoreError, Unavailable
from cacheserver.core.types import Tenant
from cacheserver.storage.connection import PREFIX, Connection, store_errors
from cacheserver.storage.sealer import STORE, PlainSealer, Sealer
from cacheserver.tenants.api_keys import KEY_MARK, ApiKey, ApiKeys
from cacheserver.tenants.bar_history import BarChange, BarHistory
from cacheserver.tenants.grace_cache import FRESH_S, GRACE_S, GraceCache
from cacheserver.tenants.tenant_json import decode, encode

__all__ = ["FRESH_S", "GRACE_S", "KEY_MARK", "ApiKey", "Tenants"]

_DIGESTS: Final = b"digests of content"  # derives the key of a tenant's digests


class Tenants(ApiKeys):
    """Store of tenants and their keys. `defaults` are the settings of a tenant without any.

    `access` is the file of the access mode. The days of keys' uses are written by `writes`, or not
    at all without it.
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
        access: Path | None = None,
        writes: BackgroundWork | None = None,
        sealer: Sealer | None = None,
    ) -> None:
        super().__init__(
            redis,
            prefix=prefix,
            clock=clock,
            now=now,
            swallowed=swallowed,
            access=access,
            writes=writes,
        )
        self._tenants = f"{prefix}tenants"
        self._secret = f"{prefix}secret"
        self.bar_history = BarHistory(redis, prefix=prefix)
        self._defaults = defaults
        self._sealer = sealer or PlainSealer()
        self._read = GraceCache[Tenant](clock)
        self._hmac: bytes | None = None
        # For tenants whose settings are unknown: a key of digests that nobody else has.
        self._random_key: Final = secrets.token_bytes(32)

    @property
    def seals(self) -> bool:
        """Return whether content is encrypted, which `no_content` needs."""
        return self._sealer.on

    async def get(self, tenant: str) -> Tenant:
        """Return a tenant's settings, or the defaults if it has none. Never raises.

        If they are unknown, because they cannot be read and are not cached, the strictest settings
        are returned: nothing is stored, matched, or shared with requests under other settings.
        """
        try:
            return await self.settings(tenant)
        except Unavailable:
            return self._tightest(tenant)

    async def of_caller(self, tenant: str) -> Tenant:
        """Return a tenant's settings as `get` does, for a request of the tenant.

        Raises `KeyLost` if encryption is off here: then it is unknown whether turns and jobs of the
        tenant may be stored in plain.
        """
        try:
            return await self.settings(tenant)
        except SettingsDamaged:
            pass
        except KeyLost:
            if not self._sealer.on:
                raise
        except Unavailable:
            pass
        return self._tightest(tenant)

    def _tightest(self, tenant: str) -> Tenant:
        return replace(
            self._defaults,
            name=tenant,
            default_ttl_s=0,
            max_ttl_s=0,
            stale_s=0,
            ttl_rules=(),
            semantic=False,
            routing_epoch=-1,
            no_content=self.seals,
            digest_key=self._random_key if self.seals else None,
        )

    def fresh(self, tenant: str) -> Tenant:
        """Return the settings of a tenant without any of its own."""
        return replace(self._defaults, name=tenant)

    async def settings(self, tenant: str) -> Tenant:
        """Return a tenant's settings, to be shown or changed.

        Raises `Unavailable` if they cannot be read and are not cached, and its subclass `KeyLost`
        if they are damaged, or encrypted with a key that is not here.
        """

        async def ask() -> Tenant:
            return await self._with_key(await self._load(tenant))

        found = await self._read.get(tenant, ask)
        assert found is not None  # there are defaults
        return found

    async def put(
        self, tenant: Tenant, *, who: str = "admin", undoes: BarChange | None = None
    ) -> None:
        """Store a tenant's settings; they take effect in every process within `FRESH_S`.

        Bars that change are recorded in the same step, as changed by `who`; `undoes` is the change
        that is taken back. Raises `BadRequest` naming the invalid field, and `StoreError`.
        """
        await self._sealer.ready(STORE)
        # With the store's key: settings stay when everything else of a tenant is erased.
        record = self._sealer.seal("settings", STORE, tenant.name, encode(tenant))
        with store_errors():
            while not await self._replace(tenant, record, who, undoes):
                pass  # another server stored settings meanwhile, and so came further
        self._read.forget(tenant.name)

    async def _replace(
        self, tenant: Tenant, record: bytes, who: str, undoes: BarChange | None
    ) -> bool:
        """Store settings with the changes of bars. False: other settings were stored meanwhile."""
        async with self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(self._tenants)
            stored = await pipe.hget(self._tenants, tenant.name)
            before: Tenant | None = self.fresh(tenant.name)
            if stored is not None:
                try:
                    await self._sealer.know([_raw(stored)])
                    before = self._decode(tenant.name, stored)
                except KeyLost:
                    before = None
            pipe.multi()  # type: ignore[no-untyped-call]
            self.bar_history.append(
                pipe,
                before,
                tenant,
                self._defaults.bar,
                who=who,
                now=self._now(),
                undoes=undoes,
            )
            pipe.hset(self._tenants, tenant.name, record)
            try:
                await pipe.execute()
            except WatchError:
                return False
            return True

    def forget(self, tenant: str) -> None:
        """Drop a tenant's cached settings and key."""
        self._read.forget(tenant)

    async def list_tenants(self) -> list[Tenant]:
        """Return every tenant that has settings or a key, by name, without keys of digests."""
        with store_errors():
            stored = await self._redis.hgetall(self._tenants)
        named = {_text(name): record for name, record in stored.items()}
        await self._sealer.know(map(_raw, stored.values()))
        found = {name: self._listed(name, record) for name, record in named.items()}
        for key in await self.list_keys():
            found.setdefault(key.tenant, self.fresh(key.tenant))
        return [found[name] for name in sorted(found)]

    def _listed(self, tenant: str, record: bytes | str) -> Tenant:
        try:
            return self._decode(tenant, record)
        except KeyLost:  # one of them must not hide the others
            return self._tightest(tenant)

    async def names(self) -> set[str]:
        """Return the names of all tenants that have settings or a key. Raises `StoreError`."""
        with store_errors():
            stored = await self._redis.hkeys(self._tenants)
        return {*map(_text, stored), *(key.tenant for key in await self.list_keys())}

    async def pseudonym(self, credential: str) -> str:
        """Return a pseudonym of a caller's own credential, the same for all servers on this Redis.

        It is an HMAC: with a plain hash, a reader of the store could test a suspected key. Raises
        `Unavailable` if the secret cannot be read and is not cached.
        """
        if self._hmac is None:
            try:
                with store_errors():
                    await self._redis.setnx(self._secret, secrets.token_hex(32))
                    secret = await self._redis.get(self._secret)
            except StoreError as error:
                raise Unavailable("the caller cannot be identified: the store is away") from error
            if not secret:  # flushed in between: an HMAC without a key would be a plain hash
                raise Unavailable("the caller cannot be identified: the store lost its secret")
            self._hmac = _text(secret).encode()
        return hmac.digest(self._hmac, credential.encode(), "sha256")[:16].hex()

    async def _load(self, tenant: str) -> Tenant:
        record = await self._redis.hget(self._tenants, tenant)
        if record is None:
            return self.fresh(tenant)
        await self._sealer.know([_raw(record)])
        return self._decode(tenant, record)

    async def _with_key(self, tenant: Tenant) -> Tenant:
        """Return the tenant with the key of its digests, if its digests are keyed."""
        if not tenant.no_content:
            return tenant
        await self._sealer.ready(tenant.name)
        return replace(tenant, digest_key=self._sealer.digest(tenant.name, _DIGESTS))

    def _decode(self, tenant: str, record: bytes | str) -> Tenant:
        plain = self._sealer.opened("settings", STORE, tenant, _raw(record))
        if plain is None:
            raise KeyLost(f"the stored settings of tenant {tenant} cannot be decrypted")
        try:
            return decode(tenant, plain, self._defaults, lambda _: self._swallowed("unknown-veto"))
        except (BadRequest, ValueError, TypeError, LookupError, AttributeError) as error:
            raise SettingsDamaged(f"the stored settings of tenant {tenant} are invalid") from error


def _raw(reply: bytes | str) -> bytes:
    return reply.encode() if isinstance(reply, str) else reply


def _text(reply: bytes | str) -> str:
    return reply if isinstance(reply, str) else reply.decode()
