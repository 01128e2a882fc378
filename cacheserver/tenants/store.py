"""Tenants: their settings in Redis, and their API keys.

Rule: settings read a moment ago cost no round trip; see `tenants.grace_cache`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from redis.exceptions import WatchError

from cacheserver.core.background import BackgroundWork
from cacheserver.core.errors import BadRequest, KeyLost, SettingsDamaged, StoreError, Unavailable
from cacheserver.core.types import Tenant
from cacheserver.peers.peers import Told, nobody
from cacheserver.storage.connection import PREFIX, Connection, store_errors
from cacheserver.storage.hash_fields import FieldChange
from cacheserver.storage.json_values import as_bytes, as_text
from cacheserver.storage.sealer import STORE, PlainSealer, Sealer
from cacheserver.tenants import tenant_json
from cacheserver.tenants.api_key import newest
from cacheserver.tenants.api_keys import KEY_MARK, ApiKey, ApiKeys
from cacheserver.tenants.bar_history import BarChange, BarHistory
from cacheserver.tenants.grace_cache import FRESH_S, GRACE_S, GraceCache
from cacheserver.tenants.pseudonyms import Pseudonyms
from cacheserver.tenants.tenant_json import Settings

__all__ = ["FRESH_S", "GRACE_S", "KEY_MARK", "ApiKey", "Tenants"]

_DIGESTS: Final = b"digests of content"  # derives the key of a tenant's digests
_TRIES: Final = 50  # to change settings that others change at the same time


@dataclass(frozen=True, slots=True)
class TenantSummary:
    """A tenant as it is listed."""

    name: str
    own: Mapping[str, Any] | None  # settings that are not the defaults; None: cannot be read
    settings: Tenant  # in force, without the key of digests
    keys: int
    last_used: str | None  # the last day (UTC) one of its keys was used


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
        told: Told = nobody,
    ) -> None:
        super().__init__(
            redis,
            prefix=prefix,
            clock=clock,
            now=now,
            swallowed=swallowed,
            access=access,
            writes=writes,
            told=told,
        )
        self._tenants = f"{prefix}tenants"
        self.bar_history = BarHistory(redis, prefix=prefix)
        self._defaults = defaults
        self._sealer = sealer or PlainSealer()
        self._read = GraceCache[Tenant](clock)
        self._pseudonyms = Pseudonyms(redis, prefix=prefix)
        # For tenants whose settings are unknown: a key of digests that nobody else has.
        self._random_key: Final = secrets.token_bytes(32)

    def use_defaults(self, defaults: Tenant) -> None:
        """Take other defaults, for tenants without settings of their own."""
        if defaults != self._defaults:
            self._defaults = defaults
            self._read.clear()

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
            return await self._with_key((await self.stored(tenant)).tenant)

        found = await self._read.get(tenant, ask)
        assert found is not None  # there are defaults
        return found

    async def stored(self, tenant: str) -> Settings:
        """Return a tenant's settings as they are in the store now.

        Raises `StoreError`, and `KeyLost` as `settings` does.
        """
        return (await self._stored(tenant))[1]

    async def change(
        self,
        tenant: str,
        given: Mapping[str, Any],
        *,
        check: Callable[[Tenant, Tenant], Awaitable[None]] | None = None,
        anew: bool = False,
        dry_run: bool = False,
        who: str = "admin",
        undoes: BarChange | None = None,
    ) -> Settings:
        """Change the settings that `given` names; the others stay, also what others change now.

        In effect on every server when it returns. `check` is called with the settings before and
        after, and may refuse. `anew`: what is stored cannot be read, and is replaced. `dry_run`:
        nothing is stored. Bars that change are recorded in the same step, as changed by `who`;
        `undoes` is the change that is taken back. Raises `BadRequest` naming the invalid field,
        `StoreError`, and `KeyLost` as `settings` does.
        """
        await self._sealer.ready(STORE)
        for _ in range(_TRIES):
            if anew:
                record, before = await self._record(tenant), self._without(tenant)
            else:
                record, before = await self._stored(tenant)
            after = tenant_json.change(tenant, before.own, given, self._defaults)
            if check is not None:
                await check(before.tenant, after.tenant)
            if dry_run:
                return after
            # With the store's key: settings stay when everything else of a tenant is erased.
            sealed = self._sealer.seal("settings", STORE, tenant, tenant_json.encode(after.own))
            known = None if anew else before.tenant
            change = self._field_change(tenant, record, sealed)
            make = partial(self._replace, change, known, after.tenant, who, undoes)
            self._redis.recent.note(partial(make, again=True), "tenants", tenant)
            if await make():
                self._read.forget(tenant)
                await self._told("tenants", tenant)
                return after
        raise StoreError("the settings are being changed by others; nothing was stored")

    async def put(
        self,
        tenant: Tenant,
        *,
        before: Tenant | None = None,
        who: str = "admin",
        undoes: BarChange | None = None,
    ) -> None:
        """Store what is different in a tenant's settings from `before`, by default the stored ones.

        A changed bar that is the server's is no longer the tenant's own. Raises as `change` does.
        """
        if before is None:
            before = (await self.stored(tenant.name)).tenant
        given = tenant_json.changes(before, tenant)
        if "bar" in given and tenant.bar == self._defaults.bar:
            given["bar"] = None
        await self.change(tenant.name, given, who=who, undoes=undoes)

    async def remove(self, tenant: str) -> bool:
        """Remove a tenant's settings. False if it has none. Raises `StoreError`."""
        removed = False
        while not removed and (record := await self._record(tenant)):
            change = self._field_change(tenant, record, b"")
            again = partial(self._remove_again, tenant, change)
            self._redis.recent.note(again, "tenants", tenant)
            removed = await change.make()
        await self.bar_history.drop(tenant)
        self._read.forget(tenant)
        await self._told("tenants", tenant)
        return removed

    async def _remove_again(self, tenant: str, change: FieldChange) -> None:
        await change.again()
        with store_errors():
            if not await self._redis.hexists(self._tenants, tenant):  # nothing newer was stored
                await self.bar_history.drop(tenant)

    def _field_change(self, tenant: str, was: bytes | None, becomes: bytes) -> FieldChange:
        fields = {tenant: (was or b"", becomes)}
        return FieldChange(self._redis, fields, hash="tenants", prefix=self._prefix)

    async def _replace(
        self,
        change: FieldChange,
        before: Tenant | None,
        after: Tenant,
        who: str,
        undoes: BarChange | None,
        *,
        again: bool = False,
    ) -> bool:
        """Store settings with the changes of bars. False: others are stored now; `again`: newer."""
        with store_errors():
            while True:
                async with self._redis.pipeline(transaction=True) as pipe:
                    await pipe.watch(self._tenants)
                    if not await change.fits(pipe, again=again):
                        return not again and change.made(0)
                    pipe.multi()  # type: ignore[no-untyped-call]
                    default, now = self._defaults.bar, self._now()
                    self.bar_history.append(
                        pipe, before, after, default, who=who, now=now, undoes=undoes
                    )
                    change.queue(pipe, again=again)
                    with suppress(WatchError):  # those of another tenant were changed, maybe
                        return change.made((await pipe.execute())[-1])

    def forget(self, tenant: str) -> None:
        """Drop a tenant's cached settings and key."""
        self._read.forget(tenant)

    def forget_all(self) -> None:
        """Drop the cached settings of all tenants, and all keys."""
        self._read.clear()
        self.forget_keys()

    async def find_key(self, key_id: str) -> ApiKey:
        """Return a key by its id. Raises `NotFound` and `StoreError`."""
        return newest(await self._of(key_id))

    async def list_tenants(self) -> list[Tenant]:
        """Return every tenant that has settings or a key, by name, without keys of digests."""
        with store_errors():
            stored = await self._redis.hgetall(self._tenants)
        named = {as_text(name): record for name, record in stored.items()}
        await self._sealer.know(map(as_bytes, stored.values()))
        found = {name: self._listed(name, record) for name, record in named.items()}
        for key in await self.list_keys():
            found.setdefault(key.tenant, self.fresh(key.tenant))
        return [found[name] for name in sorted(found)]

    async def page(self, *, after: str = "", limit: int) -> tuple[list[TenantSummary], str | None]:
        """Return some of the tenants that have settings or a key, by name, and the next `after`.

        Raises `StoreError`.
        """
        with store_errors():
            named = await self._redis.hkeys(self._tenants)
        keys: dict[str, list[ApiKey]] = {}
        for key in await self.list_keys():
            keys.setdefault(key.tenant, []).append(key)
        found = sorted(name for name in {*map(as_text, named), *keys} if name > after)
        page = found[:limit]
        with store_errors():
            records = await self._redis.hmget(self._tenants, page) if page else []
        await self._sealer.know([as_bytes(record) for record in records if record is not None])
        shown = [
            TenantSummary(
                name,
                *self._summarized(name, record),
                len(keys.get(name, ())),
                max((key.last_used for key in keys.get(name, ()) if key.last_used), default=None),
            )
            for name, record in zip(page, records, strict=True)
        ]
        return shown, page[-1] if len(found) > limit else None

    def _summarized(
        self, tenant: str, record: bytes | str | None
    ) -> tuple[Mapping[str, Any] | None, Tenant]:
        if record is None:
            return {}, self.fresh(tenant)
        try:
            found = self._decode(tenant, record)
        except KeyLost:
            return None, self._tightest(tenant)
        return found.own, found.tenant

    def _listed(self, tenant: str, record: bytes | str) -> Tenant:
        try:
            return self._decode(tenant, record).tenant
        except KeyLost:  # one of them must not hide the others
            return self._tightest(tenant)

    async def names(self) -> set[str]:
        """Return the names of all tenants that have settings or a key. Raises `StoreError`."""
        with store_errors():
            stored = await self._redis.hkeys(self._tenants)
        return {*map(as_text, stored), *(key.tenant for key in await self.list_keys())}

    async def pseudonym(self, credential: str) -> str:
        """Return a pseudonym of a caller's own credential. Raises `Unavailable`."""
        return await self._pseudonyms.of(credential)

    async def _stored(self, tenant: str) -> tuple[bytes | None, Settings]:
        """Return a tenant's stored record, and the settings in it."""
        record = await self._record(tenant)
        if record is None:
            return None, self._without(tenant)
        await self._sealer.know([record])
        return record, self._decode(tenant, record)

    async def _record(self, tenant: str) -> bytes | None:
        with store_errors():
            record = await self._redis.hget(self._tenants, tenant)
        self._redis.recent.check()
        return None if record is None else as_bytes(record)

    def _without(self, tenant: str) -> Settings:
        return Settings(self.fresh(tenant), {}, {})

    async def _with_key(self, tenant: Tenant) -> Tenant:
        """Return the tenant with the key of its digests, if its digests are keyed."""
        if not tenant.no_content:
            return tenant
        await self._sealer.ready(tenant.name)
        return replace(tenant, digest_key=self._sealer.digest(tenant.name, _DIGESTS))

    def _decode(self, tenant: str, record: bytes | str) -> Settings:
        plain = self._sealer.opened("settings", STORE, tenant, as_bytes(record))
        if plain is None:
            raise KeyLost(f"the stored settings of tenant {tenant} cannot be decrypted")
        try:
            return tenant_json.decode(
                tenant, plain, self._defaults, lambda _: self._swallowed("unknown-veto")
            )
        except (BadRequest, ValueError, TypeError, LookupError, AttributeError) as error:
            raise SettingsDamaged(f"the stored settings of tenant {tenant} are invalid") from error
