"""Pseudonyms of callers that present a credential of their own."""

from __future__ import annotations

import hmac
import secrets

from cacheserver.core.errors import StoreError, Unavailable
from cacheserver.storage.connection import Connection, store_errors
from cacheserver.storage.json_values import as_text


class Pseudonyms:
    """Pseudonyms by a secret in the store: the same for all servers on it.

    They are HMACs: with a plain hash, a reader of the store could test a suspected key.
    """

    def __init__(self, redis: Connection, *, prefix: str) -> None:
        self._redis = redis
        self._key = f"{prefix}secret"
        self._secret: bytes | None = None

    async def of(self, credential: str) -> str:
        """Return a pseudonym. Raises `Unavailable` if the secret is not known here."""
        if self._secret is None:
            try:
                with store_errors():
                    await self._redis.setnx(self._key, secrets.token_hex(32))
                    secret = await self._redis.get(self._key)
            except StoreError as error:
                raise Unavailable("the caller cannot be identified: the store is away") from error
            if not secret:  # flushed in between: an HMAC without a key would be a plain hash
                raise Unavailable("the caller cannot be identified: the store lost its secret")
            self._secret = as_text(secret).encode()
        return hmac.digest(self._secret, credential.encode(), "sha256")[:16].hex()
