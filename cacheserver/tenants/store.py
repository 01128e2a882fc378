"""Tenants' settings, in Redis, beside the keys that let them in.

Rule: a request seen a moment ago costs no round trip; see `storage.remembered`.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from cacheserver.core.errors import BadRequest, KeyLost, SettingsDamaged, StoreError, Unavailable
from cacheserver.core.types import Tenant
from cacheserver.storage.connection import PREFIX, Connection, store_errors
from cacheserver.storage.remembered import FRESH_S, GRACE_S, GraceCache
from cacheserver.storage.sealing.data_keys import STORE
from cacheserver.storage.sealing.sealer import Sealer
from cacheserver.storage.write_behind import WriteBehind
from cacheserver.tenants.api_keys import KEY_MARK, ApiKey, ApiKeys
from cacheserver.tenants.tenant_json import decode, encode

__all__ = ["FRESH_S", "GRACE_S", "KEY_MARK", "ApiKey", "Tenants"]

_DIGESTS: Final = b"digests of content"  # what the key of a tenant's digests is derived by


class Tenants(ApiKeys):
    """The tenants and their keys. `defaults` is what holds for a tenant nothing was set for.

    `access` is the file that says whether keys are needed; what nobody waits for is written by
    `behind`, and not at all without it.
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
        behind: WriteBehind | None = None,
        sealer: Sealer | None = None,
    ) -> None:
        super().__init__(
            redis,
            prefix=prefix,
            clock=clock,
            now=now,
            swallowed=swallowed,
            access=access,
            behind=behind,
        )
        self._tenants = f"{prefix}tenants"
        self._secret = f"{prefix}secret"
        self._defaults = defaults
        self._sealer = sealer or Sealer()
        self._read = GraceCache[Tenant](clock)
        self._hmac: bytes | None = None
        # While it is not known whether a tenant keeps content: nobody can make such digests.
        self._nobodys: Final = secrets.token_bytes(32)

    @property
    def seals(self) -> bool:
        """True if content is encrypted, so that a tenant can have none kept in plain."""
        return self._sealer.on

    async def get(self, tenant: str) -> Tenant:
        """A tenant's settings, the defaults where none were put. Never raises.

        Where they cannot be read and never were, the tightest: nothing is stored, nothing matched,
        and nothing shared with requests made under the settings that hold.
        """
        try:
            return await self.known(tenant)
        except Unavailable:
            return self._tightest(tenant)

    async def of_caller(self, tenant: str) -> Tenant:
        """A tenant's settings as `get` has them, for a request of its own.

        Raises `KeyLost` where nothing is sealed here: whether turns and jobs of the tenant may be
        kept in plain is not known then.
        """
        try:
            return await self.known(tenant)
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
            digest_key=self._nobodys if self.seals else None,
        )

    def fresh(self, tenant: str) -> Tenant:
        """The settings of a tenant that nothing was set for."""
        return replace(self._defaults, name=tenant)

    async def known(self, tenant: str) -> Tenant:
        """A tenant's settings, for whoever shows or changes them.

        Raises `Unavailable` where they cannot be read and never were, and its `KeyLost` where they
        are damaged, or sealed with a key that is not here: nobody knows what may be kept of such a
        tenant.
        """

        async def ask() -> Tenant:
            return await self._with_key(await self._load(tenant))

        found = await self._read.get(tenant, ask)
        assert found is not None  # there are defaults
        return found

    async def put(self, tenant: Tenant) -> None:
        """Set what holds for a tenant, in every process within `FRESH_S`.

        Raises `BadRequest` naming the field that will not do, and `StoreError`.
        """
        await self._sealer.ready(STORE)
        # With the store's key, for settings stay where all else of a tenant is erased.
        record = self._sealer.seal("settings", STORE, tenant.name, encode(tenant))
        with store_errors():
            await self._redis.hset(self._tenants, tenant.name, record)
        self._read.forget(tenant.name)

    def forget(self, tenant: str) -> None:
        """Read a tenant's settings and key anew when they are next asked for."""
        self._read.forget(tenant)

    async def list_tenants(self) -> list[Tenant]:
        """Every tenant that has settings or a key, by name. Without keys of digests."""
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
            return self.fresh(tenant)
        await self._sealer.know([_raw(record)])
        return self._decode(tenant, record)

    async def _with_key(self, tenant: Tenant) -> Tenant:
        """The tenant with the key of its digests, where they are keyed."""
        if not tenant.no_content:
            return tenant
        await self._sealer.ready(tenant.name)
        return replace(tenant, digest_key=self._sealer.digest(tenant.name, _DIGESTS))

    def _decode(self, tenant: str, record: bytes | str) -> Tenant:
        plain = self._sealer.opened("settings", STORE, tenant, _raw(record))
        if plain is None:
            raise KeyLost(f"the settings kept for tenant {tenant} do not open")
        try:
            return decode(tenant, plain, self._defaults, lambda _: self._swallowed("unknown-veto"))
        except (BadRequest, ValueError, TypeError, LookupError, AttributeError) as error:
            raise SettingsDamaged(f"the settings kept for {tenant} make no sense") from error


def _raw(reply: bytes | str) -> bytes:
    return reply.encode() if isinstance(reply, str) else reply


def _text(reply: bytes | str) -> str:
    return reply if isinstance(reply, str) else reply.decode()
