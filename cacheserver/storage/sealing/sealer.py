"""Encryption of values before they leave the process, and decryption when they are read.

    mark (4 bytes, its last the version), id of the data key (8), nonce (12), AES-256-GCM and tag

No text, JSON or entry begins with the mark, so plain values from before encryption are recognized
and read as they are. Kind, tenant and name are authenticated with each value: one that was moved to
another key of the store, or to another tenant, cannot be opened.

Rule: a value that cannot be opened is counted and treated as absent, never an error.
"""

from __future__ import annotations

import hmac
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, TypeAlias, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cacheserver.core import json_text
from cacheserver.core.errors import StoreError
from cacheserver.storage.sealing.data_keys import ID_BYTES, STORE, DataKeys, Generation, WrongKey
from cacheserver.storage.sealing.master_key import KEY_BYTES, NONCE_BYTES

MARK: Final = b"\xffcs\x01"
_NONCE_AT: Final = len(MARK) + ID_BYTES
_SEALED_AT: Final = _NONCE_AT + NONCE_BYTES
_TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = _SEALED_AT + _TAG_BYTES
_AGAIN_S: Final = 1.0  # between searches for an unknown key, which may not exist at all

T = TypeVar("T")

# `off`: encryption is not on; `key`: its key is unknown here, or destroyed; `changed`: it was
# moved, altered or belongs to another tenant; `torn`: a part of it is missing.
Reason: TypeAlias = Literal["off", "key", "changed", "torn"]


class Unsealed(ValueError):
    """Raised for a sealed value that cannot be opened."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"a sealed value cannot be opened: {reason}")
        self.reason: Reason = reason


class DataKeyCipher:
    """Cipher of one data key. `about` is authenticated with a value but not stored in it."""

    def __init__(self, id: bytes, key: bytes) -> None:
        self._head = MARK + id
        self._cipher = AESGCM(key)

    def seal(self, about: str, plain: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return self._head + nonce + self._cipher.encrypt(nonce, plain, self._with(about))

    def open(self, about: str, value: bytes) -> bytes:
        """Decrypt a value that `seal` encrypted. Raises `Unsealed`."""
        if len(value) < OVERHEAD_BYTES:
            raise Unsealed("torn")
        nonce, sealed = value[_NONCE_AT:_SEALED_AT], value[_SEALED_AT:]
        try:
            return self._cipher.decrypt(nonce, sealed, self._with(about))
        except InvalidTag:
            raise Unsealed("changed") from None

    def _with(self, about: str) -> bytes:
        return self._head + about.encode()


class Sealer:
    """Encryption of values by tenant. Without `keys` it is off, and values stay plain.

    `unreadable` is called with the reason when a value cannot be opened.
    """

    def __init__(
        self,
        keys: DataKeys | None = None,
        *,
        unreadable: Callable[[str], object] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keys = keys
        self._unreadable = unreadable
        self._clock = clock
        self._held: dict[str, list[Generation]] = {}
        self._latest: dict[str, DataKeyCipher] = {}
        self._ciphers: dict[bytes, tuple[str, DataKeyCipher]] = {}  # by id: whose it is
        self._digests: dict[str, bytes] = {}
        self._changes: int | None = None
        self._looked_for: set[bytes] = set()  # keys that are not in the store either, of late
        self._looked_at = 0.0

    @property
    def on(self) -> bool:
        return self.keys is not None

    async def start(self) -> None:
        """Read all keys, and create the store's own if there are none.

        Raises `StoreError`, and `WrongKey` before anything is written if a master key does not fit.
        """
        if self.keys is not None:
            await self._load(self.keys)
            await self.ready(STORE)
            self._changes = await self.keys.changes()

    async def ready(self, *tenants: str) -> None:
        """Load the tenants' keys into memory, and create missing ones.

        Raises `StoreError`.
        """
        if self.keys is None:
            return
        # Repeated: a concurrent reload may drop a key that was created meanwhile.
        while missing := [one for one in tenants if one not in self._latest]:
            with _later():
                self.learn(missing[0], await self.keys.make(missing[0]))

    async def know(self, values: Iterable[bytes | None], *, at: int = 0) -> None:
        """Load the keys of these sealed values, which another server may just have created.

        `at`: the offset at which the sealed part of a value begins. Raises `StoreError`.
        """
        if self.keys is None:
            return
        mark_end = at + len(MARK)
        ids = {
            value[mark_end : at + _NONCE_AT]
            for value in values
            if value is not None and value[at:mark_end] == MARK
        }
        unknown = ids - self._ciphers.keys()
        if not unknown:
            return
        if self._clock() - self._looked_at >= _AGAIN_S:
            self._looked_at, self._looked_for = self._clock(), set()
        if unknown - self._looked_for:
            self._looked_for |= unknown
            with _later():
                await self._load(self.keys)

    async def refresh(self) -> None:
        """Load keys that other servers or `cacheserver encryption` changed. Raises `StoreError`."""
        if self.keys is not None and await self.keys.changes() != self._changes:
            await self.reload()

    async def reload(self) -> None:
        """Load all keys; keys that the store has lost are stored again. Raises `StoreError`."""
        if self.keys is not None:
            with _later():
                await self._load(self.keys)
            await self.ready(STORE)

    async def supersede(self, tenant: str, mark: str) -> None:
        """Make `destroy` with this mark destroy all keys that a tenant has now.

        Values sealed from now on stay readable. Raises `StoreError`.
        """
        if self.keys is not None:
            with _later():
                await self.keys.supersede(tenant, mark)
            await self.refresh()

    async def destroy(self, tenant: str, mark: str) -> int:
        """Destroy the keys from before `supersede`; returns how many. Raises `StoreError`."""
        if self.keys is None:
            return 0
        with _later():
            gone = await self.keys.destroy(tenant, mark)
        await self.refresh()
        return gone

    def seal(self, kind: str, tenant: str, name: str, plain: bytes) -> bytes:
        """Encrypt the value for `name`. Raises `StoreError` if `ready` was not awaited."""
        if self.keys is None:
            return plain
        box = self._latest.get(tenant)
        if box is None:
            raise StoreError("a tenant's key is not in memory")
        return box.seal(_about(kind, tenant, name), plain)

    def open(self, kind: str, tenant: str | None, name: str, value: bytes) -> bytes:
        """Decrypt a value; a plain one from before encryption is returned as it is.

        `tenant` None: any tenant, if only one tenant can have `name`. Raises `Unsealed`.
        """
        if not value.startswith(MARK):
            return value
        if self.keys is None:
            raise Unsealed("off")
        cipher = self._ciphers.get(value[len(MARK) : _NONCE_AT])
        if cipher is None:
            raise Unsealed("key")
        whose, box = cipher
        if tenant is not None and tenant != whose:
            raise Unsealed("changed")
        return box.open(_about(kind, whose, name), value)

    def opened(self, kind: str, tenant: str | None, name: str, value: bytes | None) -> bytes | None:
        """Open a value. Returns None if it is absent, or cannot be opened, which is counted."""
        if value is None:
            return None
        try:
            return self.open(kind, tenant, name, value)
        except Unsealed as error:
            self._unreadable(error.reason)
            return None

    def read(
        self,
        kind: str,
        tenant: str | None,
        name: str,
        value: bytes | None,
        how: Callable[[bytes], T],
    ) -> T | None:
        """Open a value and decode it with `how`. Returns None if that fails, which is counted."""
        plain = self.opened(kind, tenant, name, value)
        return None if plain is None else self.decoded(lambda: how(plain))

    def decoded(self, how: Callable[[], T]) -> T | None:
        """Call `how` to decode a value. Returns None if the value is malformed, which is counted.

        A value without the mark passes as plain, whoever wrote it.
        """
        try:
            return how()
        except (ValueError, TypeError, LookupError, AttributeError, zlib.error):
            self._unreadable("torn")
            return None

    def digest(self, tenant: str, plain: bytes) -> bytes:
        """Return an HMAC-SHA256 of `plain` under the tenant's keys.

        It is the same after a rotation. Raises `StoreError` if `ready` was not awaited or
        encryption is off.
        """
        key = self._digests.get(tenant)
        if key is None:
            raise StoreError("a tenant's key is not in memory")
        return hmac.digest(key, plain, "sha256")

    def learn(self, tenant: str, held: Iterable[Generation]) -> None:
        """Put a tenant's keys into memory, the latest last."""
        self._held[tenant] = list(held)
        for one in self._held[tenant]:
            box = DataKeyCipher(one.id, one.data)
            self._ciphers[one.id] = tenant, box
            self._latest[tenant] = box
            self._digests[tenant] = HKDF(
                SHA256(), KEY_BYTES, salt=None, info=b"cacheserver digests"
            ).derive(one.root)

    async def _load(self, keys: DataKeys) -> None:
        changes = await keys.changes()  # first: a change during the load causes another load
        found = await keys.load()
        # A destroyed key always leaves a later one. So a tenant without keys was lost with the
        # store's data, or was created during this read, and has values that need these keys.
        lost = {tenant: held for tenant, held in self._held.items() if tenant not in found}
        if lost:
            await keys.put_back(lost)
            found = await keys.load()
        self._held, self._latest, self._ciphers, self._digests = {}, {}, {}, {}
        for tenant, held in found.items():
            self.learn(tenant, held)
        self._changes = changes


def as_object(plain: bytes, *names: str) -> dict[str, Any]:
    """Decode a JSON object that has at least these names. Raises `ValueError`."""
    found = json_text.loads(plain)
    if not isinstance(found, dict) or not found.keys() >= set(names):
        raise ValueError("another kind of value")
    return found


@contextmanager
def _later() -> Iterator[None]:
    """Convert `WrongKey` to `StoreError`: a running server does not stop for it."""
    try:
        yield
    except WrongKey as error:
        raise StoreError(str(error)) from None


def _about(kind: str, tenant: str, name: str) -> str:
    """Return the text authenticated with a value, unambiguous by the tenant's length."""
    return f"{kind}:{len(tenant)}:{tenant}:{name}"
