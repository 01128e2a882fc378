"""Named admin keys: stored as hashes, each with a role and, if wanted, an expiry.

Rule: as for tenants' keys, a change is in force on every server when it is acknowledged.

    P adminkeys      hash: SHA-256 of a key -> its record
    P adminkeysused  hash: id -> Unix time of its last use, to the minute
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import orjson

from cacheserver.core import names
from cacheserver.core.errors import BadRequest, NotFound, StoreError
from cacheserver.peers.peers import Told, nobody
from cacheserver.storage.connection import PREFIX, Connection, command, store_errors
from cacheserver.storage.json_values import as_text
from cacheserver.storage.replication import run_waiting
from cacheserver.tenants.api_key import digest_of
from cacheserver.tenants.grace_cache import GraceCache

Role: TypeAlias = Literal["read", "tune", "all"]

ROLES: Final[tuple[Role, ...]] = ("read", "tune", "all")  # each may do what those before it may
ADMIN_KEY_MARK: Final = "csa_"  # tells admin keys from tenants' (`cs_`) and Anthropic's
SETTING_NAME: Final = "admin"  # of the key that `CACHESERVER_ADMIN_KEY` sets
MAX_KEYS: Final = 100  # a person or a program each; all fit one page

_MAX_NAME = 100
_USE_S = 60  # a last use is written once a minute
# An expired key is listed for this long; then the next key created deletes it.
_SHOWN_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class AdminKey:
    """Stored record of an admin key. The key itself is not stored."""

    id: str  # of the key's hash, so that it says nothing about the key
    name: str
    role: Role
    created_at: float
    expires_at: float | None = None  # from then on it is refused
    last_used_at: float | None = None  # to the minute; None: never
    damaged: bool = False  # its record cannot be read: it is refused, and can be revoked


def allows(held: Role, needed: Role) -> bool:
    """Return whether a key of the role `held` may do what `needed` may."""
    return ROLES.index(held) >= ROLES.index(needed)


class AdminKeys:
    """Admin keys. `clock` is monotonic, for the cache; `now` returns Unix time."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        swallowed: Callable[[str], object] = lambda _: None,
        told: Told = nobody,
    ) -> None:
        self._redis = redis
        self._keys = f"{prefix}adminkeys"
        self._used = f"{prefix}adminkeysused"
        self._now = now
        self._swallowed = swallowed
        self._told = told
        self._found = GraceCache[AdminKey](clock)
        self._uses: dict[str, float] = {}  # by id, the last use that was written here

    async def create(
        self, name: str, role: str, *, expires_at: float | None = None
    ) -> tuple[AdminKey, str]:
        """Create a key. Returns its record and the key itself, which cannot be read again.

        Raises `BadRequest` for an invalid or used name, role or time, and `StoreError`.
        """
        name = names.read("name", name, most=_MAX_NAME)
        checked = read_role("role", role)
        now = round(self._now(), 3)
        if expires_at is not None and expires_at <= now:
            raise BadRequest("expires", "must be in the future")
        stored = await self._records()
        if over := [digest for digest, key in stored.items() if _over(key, now - _SHOWN_S)]:
            await command(self._redis, "HDEL", self._keys, *over)
        left = [key for digest, key in stored.items() if digest not in over]
        if name == SETTING_NAME or any(key.name == name for key in left):
            raise BadRequest("name", "is another admin key's; the audit trail tells keys by name")
        if len(left) >= MAX_KEYS:
            raise BadRequest("name", f"there are {MAX_KEYS} admin keys; revoke one first")
        plain = ADMIN_KEY_MARK + secrets.token_urlsafe(32)
        digest = digest_of(plain)
        key = AdminKey(digest[:16], name, checked, now, expires_at)
        fields = asdict(key)
        del fields["last_used_at"], fields["damaged"]
        await run_waiting(self._redis, "HSET", self._keys, digest, orjson.dumps(fields))
        return key, plain

    async def list(self) -> list[AdminKey]:
        """Return every admin key, oldest first, those that are damaged too. Raises `StoreError`."""
        records = await self._records()
        used = await command(self._redis, "HGETALL", self._used)
        at = {id.decode(): float(when) for id, when in used.items()}
        found = (replace(key, last_used_at=at.get(key.id)) for key in records.values())
        return sorted(found, key=lambda key: key.created_at)

    async def revoke(self, key_id: str) -> AdminKey:
        """Delete a key: no server accepts it afterwards.

        Raises `NotFound` and `StoreError`.
        """
        for digest, key in (await self._records()).items():
            if key.id == key_id:
                remove = partial(command, self._redis, "HDEL", self._keys, digest)
                self._redis.recent.note(remove, "adminkeys")
                await remove()
                await command(self._redis, "HDEL", self._used, key_id)
                self._found.forget(digest)
                await self._told("adminkeys")
                return key
        raise NotFound("no admin key has this id; `GET /admin/v1/admin-keys` lists those there are")

    async def find(self, plain: str) -> AdminKey | None:
        """Return the record of a presented key; None if it is unknown or expired.

        Raises `Unavailable` while Redis is away, unless the key was read a moment before.
        """
        return await self.by_digest(digest_of(plain))

    async def by_digest(self, digest: str) -> AdminKey | None:
        """Return the record of a key by its digest, as `find` does."""

        async def ask() -> AdminKey | None:
            record = await self._redis.hget(self._keys, digest)
            self._redis.recent.check()
            return None if record is None else _admin_key(record)

        found = await self._found.get(digest, ask)
        now = self._now()
        if found is None or _over(found, now):
            return None
        if now - self._uses.get(found.id, 0) >= _USE_S:
            await self._note_use(found.id, now)
        return found

    def forget(self) -> None:
        """Drop what is remembered of all keys."""
        self._found.clear()

    async def _note_use(self, key_id: str, now: float) -> None:
        if len(self._uses) > 10 * MAX_KEYS:
            self._uses.clear()
        self._uses[key_id] = now
        try:
            await command(self._redis, "HSET", self._used, key_id, str(int(now)))
        except StoreError:
            self._swallowed("admin-key-use")

    async def _records(self) -> dict[str, AdminKey]:
        with store_errors():
            stored = await self._redis.hgetall(self._keys)
        return {
            as_text(digest): _listed(as_text(digest), record) for digest, record in stored.items()
        }


def read_role(field: str, value: object) -> Role:
    """Read a role. Raises `BadRequest` naming `field`."""
    for role in ROLES:
        if value == role:
            return role
    raise BadRequest(field, f"must be one of {', '.join(f'`{role}`' for role in ROLES)}")


def _over(key: AdminKey, now: float) -> bool:
    return key.expires_at is not None and key.expires_at <= now


def _admin_key(record: bytes | str) -> AdminKey:
    """Decode a record, which another version may have written."""
    try:
        fields: dict[str, Any] = orjson.loads(record)
        return AdminKey(
            id=fields["id"],
            name=fields["name"],
            role=read_role("role", fields["role"]),
            created_at=fields["created_at"],
            expires_at=fields.get("expires_at"),
        )
    except (ValueError, KeyError, TypeError, AttributeError, BadRequest) as error:
        raise StoreError("an admin key's record in the store is damaged") from error


def _listed(digest: str, record: bytes | str) -> AdminKey:
    """Decode a record for the list, in which one that is damaged must not hide the others."""
    try:
        return _admin_key(record)
    except StoreError:
        return AdminKey(digest[:16], "(damaged)", "read", 0.0, damaged=True)
