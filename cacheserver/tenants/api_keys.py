"""API keys: stored as hashes, with limits and expiry.

Rule: a key used a moment ago costs no round trip. A change is in force on every server when it is
acknowledged (`told`); what another program changes in the store, within `FRESH_S` seconds. While
Redis is away a record is used for `GRACE_S` at most.

    P keys      hash: SHA-256 of a key -> its record
    P keysused  hash: id -> the last day (UTC) it was used
    P access    whether a key is needed at all (`tenants.access`)

A rotated key keeps its id, and with it its budgets, limits and ledger rows. During the overlap
there are two records of that id.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cacheserver.cache.controls import name as checked_name
from cacheserver.core import names
from cacheserver.core.background import BackgroundWork
from cacheserver.core.errors import BadRequest, NotFound, StoreError
from cacheserver.core.rules.limits import Limits
from cacheserver.peers.peers import Told, nobody
from cacheserver.storage.connection import PREFIX, Connection, command, store_errors
from cacheserver.storage.hash_fields import FieldChange
from cacheserver.storage.json_values import as_bytes, as_text
from cacheserver.storage.replication import run_waiting
from cacheserver.tenants.access import Access
from cacheserver.tenants.api_key import ApiKey, KeyRole, decode, digest_of, encode, newest
from cacheserver.tenants.grace_cache import FRESH_S, GRACE_S, GraceCache

__all__ = ["FRESH_S", "GRACE_S", "KEY_MARK", "ApiKey", "ApiKeys"]

KEY_MARK = "cs_"  # distinguishes our keys from Anthropic's `sk-ant-...`, for people and scanners
MAX_OVERLAP_S = 30 * 86_400

_MAX_LABEL = 100
_PLACE = re.compile(
    r"[0-9]{1,15}(\.[0-9]{1,9})?:[0-9a-f]{16}"
)  # of a key in the list: its creation and id
_DAY_S = 86_400
# An expired key is listed for this long; then the next key created deletes it.
_SHOWN_S = 30 * _DAY_S
_TRIES = 50  # to change a key that others change at the same time
_SEEN = 10_000  # keys whose last day is in memory, to be written once a day


class ApiKeys:
    """API keys of all tenants. `clock` is monotonic, for the cache; `now` returns Unix time."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        swallowed: Callable[[str], object] = lambda _: None,
        access: Path | None = None,
        writes: BackgroundWork | None = None,
        told: Told = nobody,
    ) -> None:
        """`told` is called with a kind of change, and returns once all servers have applied it."""
        self._redis = redis
        self._swallowed = swallowed
        self._told = told
        self._prefix = prefix
        self._keys = f"{prefix}keys"
        self._used = f"{prefix}keysused"
        self._now = now
        self._access = Access(redis, prefix=prefix, path=access, swallowed=swallowed)
        self._writes = writes
        self._found = GraceCache[ApiKey](clock)
        self._closed = GraceCache[bool](clock)
        self._days: dict[str, int] = {}  # by id, the last day that was noted here
        self._limits: dict[str, Limits] = {}  # by id, of the keys seen that have any

    async def create_key(
        self,
        tenant: str,
        label: str = "",
        *,
        expires_at: float | None = None,
        limits: Limits | None = None,
        role: KeyRole = "ask",
    ) -> tuple[ApiKey, str]:
        """Create a key. Returns its record and the key itself, which cannot be read again.

        Raises `BadRequest` for an invalid name, label or time, and `StoreError`.
        """
        checked_name("tenant", tenant)
        label = names.read("label", label, most=_MAX_LABEL, least=0)
        self._check_expiry(expires_at)
        plain, digest = _new_key()
        key = ApiKey(
            digest[:16],
            tenant,
            label,
            round(self._now(), 3),
            expires_at,
            limits or Limits(),
            role=role,
        )
        if await self._access.require():
            self._closed.forget("")
            await self._told("keys")
        await run_waiting(self._redis, "HSET", self._keys, digest, encode(key))
        await self._forget_expired()
        return key, plain

    async def rotate_key(
        self, key_id: str, *, overlap_s: float = 0, expires_at: float | None = None
    ) -> tuple[ApiKey, str]:
        """Create a new key with the same id. The previous one stays valid for `overlap_s`.

        Without `expires_at` the new key gets the lifetime of the previous one. Raises `BadRequest`,
        `NotFound` and `StoreError`.
        """
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise BadRequest("overlap", f"must be 0 to {MAX_OVERLAP_S} seconds, 30 days")
        self._check_expiry(expires_at)
        now = round(self._now(), 3)
        plain, digest = _new_key()
        until = now + overlap_s

        def rotated(records: Mapping[str, ApiKey]) -> dict[str, ApiKey | None]:
            changed: dict[str, ApiKey | None] = {}
            for other, key in records.items():
                end = until if key.expires_at is None else min(until, key.expires_at)
                changed[other] = replace(key, replaced=True, expires_at=end) if overlap_s else None
            before, ends = newest(records), expires_at
            if ends is None and before.expires_at is not None:
                ends = round(now + before.expires_at - before.created_at, 3)
            changed[digest] = replace(
                before,
                created_at=now,
                expires_at=ends,
                overlaps_until=until if overlap_s else None,
                last_used=None,
            )
            return changed

        new = newest(await self._change(key_id, rotated))
        await self._forget_expired()
        return new, plain

    async def limit_key(self, key_id: str, limits: Limits) -> ApiKey:
        """Set the limits of a key. Raises `NotFound` and `StoreError`."""
        return newest(
            await self._change(
                key_id,
                lambda records: {one: replace(key, limits=limits) for one, key in records.items()},
            )
        )

    async def change_key(
        self, key_id: str, *, label: str | None, expires: bool, expires_at: float | None
    ) -> ApiKey:
        """Set the label of a key unless it is None, and its end if `expires`; None: it has none.

        Its predecessor never outlives it. Raises `BadRequest`, `NotFound` and `StoreError`.
        """
        if label is not None:
            label = names.read("label", label, most=_MAX_LABEL, least=0)
        if expires:
            self._check_expiry(expires_at)

        def changed(records: Mapping[str, ApiKey]) -> dict[str, ApiKey]:
            found = {}
            for digest, key in records.items():
                ends = key.expires_at if key.replaced or not expires else expires_at
                if key.replaced and expires and expires_at is not None and ends is not None:
                    ends = min(ends, expires_at)
                found[digest] = replace(
                    key, label=key.label if label is None else label, expires_at=ends
                )
            return found

        return newest(await self._change(key_id, changed))

    async def revoke_key(self, key_id: str) -> ApiKey:
        """Delete a key and its predecessor: no server accepts them afterwards.

        Raises `NotFound` and `StoreError`.
        """
        known: dict[str, ApiKey] = {}

        def revoked(records: Mapping[str, ApiKey]) -> dict[str, None]:
            known.clear()  # of a try before
            known.update(records)
            return dict.fromkeys(records)

        await self._change(key_id, revoked)
        await command(self._redis, "HDEL", self._used, key_id)
        return newest(known)

    async def revoke_keys(self, tenant: str) -> list[ApiKey]:
        """Revoke every key of a tenant and return them. Raises `StoreError`."""
        keys = [key for key in await self.list_keys() if key.tenant == tenant]
        for key in keys:
            with suppress(NotFound):  # revoked by another request meanwhile
                await self.revoke_key(key.id)
        return keys

    async def list_keys(self) -> list[ApiKey]:
        """Return every key, oldest first; a rotated key appears once. Raises `StoreError`."""
        with store_errors():
            records = await self._redis.hvals(self._keys)
            used = await self._redis.hgetall(self._used)
        days = {as_text(id): as_text(day) for id, day in used.items()}
        found = [replace(key, last_used=days.get(key.id)) for key in map(decode, records)]
        if found:
            await self._note_keys()
        return sorted((k for k in found if not k.replaced), key=lambda k: (k.created_at, k.id))

    async def key_page(
        self, *, tenant: str | None = None, after: str = "", limit: int
    ) -> tuple[list[ApiKey], str | None]:
        """Return some keys of all tenants or of one, oldest first, and the `after` of the next.

        Raises `BadRequest` and `StoreError`.
        """
        if after and not _PLACE.fullmatch(after):
            raise BadRequest("cursor", "must be the `next` of the page before")
        created, _, id = after.partition(":")
        last = (float(created), id) if after else (-1.0, "")
        found = [
            key
            for key in await self.list_keys()
            if tenant in (None, key.tenant) and (key.created_at, key.id) > last
        ]
        page = found[:limit]
        return page, f"{page[-1].created_at!r}:{page[-1].id}" if len(found) > limit else None

    async def keys_needed(self) -> bool:
        """Return whether requests need a key: from the first key until `open`.

        Raises `Unavailable` if that is unknown.
        """
        return bool(await self._closed.get("", self._access.needed))

    async def open(self) -> None:
        """Allow callers on this machine without a key again.

        Raises `BadRequest` if there are keys, and `StoreError`.
        """
        if keys := await self.list_keys():
            raise BadRequest("keys", f"there are {len(keys)}; revoke them first: `key list`")
        with store_errors():
            await self._redis.delete(self._keys, self._used)  # only expired keys are left
        await self._access.open()
        self.forget_keys()
        await self._told("keys")

    async def key(self, plain: str) -> ApiKey | None:
        """Return the record of a presented key; None if it is unknown or expired.

        Raises `Unavailable` while Redis is away, unless the key was read in the last `GRACE_S`.
        """
        return await self.by_digest(digest_of(plain)) if plain.startswith(KEY_MARK) else None

    async def by_digest(self, digest: str) -> ApiKey | None:
        """Return the record of a key by its digest, as `key` does."""

        async def ask() -> ApiKey | None:
            record = await self._redis.hget(self._keys, digest)
            self._redis.recent.check()
            return None if record is None else decode(record)

        found = await self._found.get(digest, ask)
        now = self._now()
        if found is None or (found.expires_at is not None and now >= found.expires_at):
            return None
        day = int(now // _DAY_S)
        if self._days.get(found.id) != day:
            await self._first_today(found, day)
        if found.limits != Limits():
            self._limits[found.id] = found.limits
        elif self._limits:
            self._limits.pop(found.id, None)
        return found

    def limits_of(self, key_id: str | None) -> Limits | None:
        """Return the limits of a key that was just accepted; None if it has none."""
        return None if key_id is None else self._limits.get(key_id)

    async def _first_today(self, key: ApiKey, day: int) -> None:
        """Record that a key was used today, and that keys are needed."""
        if len(self._days) >= _SEEN:
            self._days.clear()
        self._days[key.id] = day
        await self._note_keys()
        if self._writes is not None:
            text = time.strftime("%Y-%m-%d", time.gmtime(day * _DAY_S))
            self._writes.do(lambda: self._note_use(key.id, text))

    async def _note_use(self, key_id: str, day: str) -> None:
        with store_errors():
            await self._redis.hset(self._used, key_id, day)

    async def _note_keys(self) -> None:
        try:
            await self._access.needed()
        except StoreError:
            self._swallowed("access-note")

    async def _of(self, key_id: str) -> dict[str, ApiKey]:
        """Return the records of a key by digest, one of them not replaced. Raises `NotFound`."""
        return {digest: decode(record) for digest, record in (await self._raw_of(key_id)).items()}

    async def _raw_of(self, key_id: str) -> dict[str, bytes]:
        with store_errors():
            stored = await self._redis.hgetall(self._keys)
        self._redis.recent.check()
        found = {as_text(d): as_bytes(raw) for d, raw in stored.items() if decode(raw).id == key_id}
        if all(decode(record).replaced for record in found.values()):
            raise NotFound(f"there is no key {key_id[:64]!r}; `cacheserver key list` shows those")
        return found

    async def _change(
        self,
        key_id: str,
        changed: Callable[[Mapping[str, ApiKey]], Mapping[str, ApiKey | None]],
    ) -> Mapping[str, ApiKey | None]:
        """Change or delete (None) the records of a key, by digest, and return what was changed.

        One that was revoked or changed meanwhile is read again. Raises `NotFound` and `StoreError`.
        """
        for _ in range(_TRIES):
            stored = await self._raw_of(key_id)
            records = changed({digest: decode(record) for digest, record in stored.items()})
            if await self._write(records, stored):
                return records
        raise StoreError("the key is being changed by others; nothing was stored")

    async def _write(
        self, records: Mapping[str, ApiKey | None], stored: Mapping[str, bytes]
    ) -> bool:
        """Write or delete (None) records in one step. False: others than those are stored now."""
        fields = {
            digest: (stored.get(digest, b""), b"" if key is None else encode(key))
            for digest, key in records.items()
        }
        # A deleted one never comes back: its key is gone.
        change = FieldChange(self._redis, fields, hash="keys", prefix=self._prefix, final=True)
        self._redis.recent.note(change.again, "keys")
        if not await change.make():
            return False
        for digest in records:
            self._found.forget(digest)
        await self._told("keys")
        return True

    def forget_keys(self) -> None:
        """Drop what is remembered of keys, and of whether they are needed."""
        self._found.clear()
        self._closed.clear()

    async def _forget_expired(self) -> None:
        with store_errors():
            stored = await self._redis.hgetall(self._keys)
        old = self._now() - _SHOWN_S
        over = {
            as_text(digest): as_bytes(record)
            for digest, record in stored.items()
            if (key := decode(record)).expires_at is not None
            and (key.expires_at < old or (key.replaced and key.expires_at <= self._now()))
        }
        if over:
            await self._write(dict.fromkeys(over), over)  # the next one tries again

    def _check_expiry(self, expires_at: float | None) -> None:
        if expires_at is not None and expires_at <= self._now():
            raise BadRequest("expires", "must be in the future")


def _new_key() -> tuple[str, str]:
    """Return a new key and its digest."""
    plain = KEY_MARK + secrets.token_urlsafe(32)
    return plain, digest_of(plain)
