"""Sessions of the admin page: who signed in, by the digest of the cookie's token.

Rule: a session is only as good as the key it was made with. It holds no key, but what tells whether
that key is still accepted, so a revoked key ends its sessions as it ends its own requests.

    P adminsession:<digest of the token>   kind of key, its proof, expiry
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final, Literal, TypeAlias

import orjson

from cacheserver.storage.connection import PREFIX, Connection, command
from cacheserver.storage.replication import run_waiting
from cacheserver.tenants.api_key import digest_of

# Of the key that signed in: that of `CACHESERVER_ADMIN_KEY`, a named admin key, or a tenant's key.
KeyKind: TypeAlias = Literal["setting", "named", "tenant"]

SESSION_S: Final = 12 * 3600  # a long working day; signing in again takes one paste


@dataclass(frozen=True, slots=True)
class PageSession:
    """A signed-in browser. `proof` is as `proof_of` makes it."""

    kind: KeyKind
    proof: str
    expires_at: float


class PageSessions:
    """Sessions in Redis, so that each server knows those of the others. `now`: Unix time."""

    def __init__(
        self, redis: Connection, *, prefix: str = PREFIX, now: Callable[[], float]
    ) -> None:
        self._redis = redis
        self._prefix = f"{prefix}adminsession:"
        self._now = now

    async def create(self, kind: KeyKind, key: str) -> tuple[str, PageSession]:
        """Create a session for a key that was just accepted. Returns its token as well.

        Raises `StoreError`.
        """
        token = secrets.token_urlsafe(32)
        session = PageSession(kind, proof_of(kind, key, token), round(self._now() + SESSION_S, 3))
        record = orjson.dumps(asdict(session))
        await command(self._redis, "SET", self._key(token), record, "EX", SESSION_S)
        return token, session

    async def find(self, token: str) -> PageSession | None:
        """Return the session of a token; None if it is unknown or over. Raises `StoreError`."""
        record = await command(self._redis, "GET", self._key(token))
        if record is None:
            return None
        try:
            session = PageSession(**orjson.loads(record))
        except (ValueError, TypeError):  # another version's: signing in again makes one of ours
            return None
        return session if session.expires_at > self._now() else None

    async def end(self, token: str) -> None:
        """Delete a session. Raises `StoreError`."""
        key = self._key(token)
        self._redis.recent.note(lambda: command(self._redis, "DEL", key))
        await run_waiting(self._redis, "DEL", key)

    def _key(self, token: str) -> str:
        return self._prefix + digest_of(token)


def proof_of(kind: KeyKind, key: str, token: str) -> str:
    """Return what shows later that `key` is the one that signed in.

    The key of a setting was chosen by a person and could be guessed from a plain hash; the token,
    which is in the cookie alone, keys its hash. Named keys and tenants' are stored by their digest.
    """
    if kind == "setting":
        return hmac.digest(token.encode(), key.encode(), "sha256").hex()
    return digest_of(key)


def csrf_token_of(token: str) -> str:
    """Return the token that each change must carry. Only a page that may read it can send it."""
    return hmac.digest(token.encode(), b"csrf", "sha256").hex()
