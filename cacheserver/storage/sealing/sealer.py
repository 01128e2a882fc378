"""Values that are encrypted before they leave the process, and decrypted when they are back.

    mark (4 bytes, its last the version), id of the data key (8), nonce (12), AES-256-GCM and tag

The mark begins no text, JSON or entry, so values from before encryption was on are told from
sealed ones and read as they are. Kind, tenant and name are authenticated with each value: one that
was moved to another key of the store, or to another tenant's, does not open.

Rule: what does not open is counted and absent, never an error: doubt is a miss.
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
_AGAIN_S: Final = 1.0  # between looks for a key that nobody here knows: it may be no key at all

T = TypeVar("T")

# `off`: encryption is not on; `key`: its key is unknown here, or destroyed; `changed`: it was
# moved, changed or is another tenant's; `torn`: a part of it is missing.
Reason: TypeAlias = Literal["off", "key", "changed", "torn"]


class Unsealed(ValueError):
    """A sealed value that does not open."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"a sealed value does not open: {reason}")
        self.reason: Reason = reason


class DataKeyCipher:
    """One data key at work. `about` is authenticated with a value and not part of it."""

    def __init__(self, id: bytes, key: bytes) -> None:
        self._head = MARK + id
        self._cipher = AESGCM(key)

    def seal(self, about: str, plain: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return self._head + nonce + self._cipher.encrypt(nonce, plain, self._with(about))

    def open(self, about: str, value: bytes) -> bytes:
        """Return what `seal` was given. Raises `Unsealed`."""
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
    """Seals and opens values. Without `keys` encryption is off: what is sealed stays plain.

    `unreadable` is told why a value did not open.
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
        self._known: dict[bytes, tuple[str, DataKeyCipher]] = {}  # by id: whose it is
        self._digests: dict[str, bytes] = {}
        self._changes: int | None = None
        self._looked_for: set[bytes] = set()  # keys that are not in the store either, of late
        self._looked_at = 0.0

    @property
    def on(self) -> bool:
        return self.keys is not None

    async def start(self) -> None:
        """Read all keys, and make the store's own where there are none.

        Raises `WrongKey` where a master key does not fit, before anything is written; `StoreError`.
        """
        if self.keys is not None:
            await self._load(self.keys)
            await self.ready(STORE)
            self._changes = await self.keys.changes()

    async def ready(self, *tenants: str) -> None:
        """Return once the tenants' keys are in memory, made where there were none.

        Raises `StoreError`.
        """
        if self.keys is None:
            return
        # Anew until all are: what is read meanwhile may be from before one of them was made.
        while missing := [one for one in tenants if one not in self._latest]:
            with _later():
                self.learn(missing[0], await self.keys.make(missing[0]))

    async def know(self, values: Iterable[bytes | None], *, at: int = 0) -> None:
        """Return once the keys of these sealed values are in memory, as far as there are any.

        Another server may just have made one. `at`: where in a value it is sealed from. Raises
        `StoreError`.
        """
        if self.keys is None:
            return
        mark_end = at + len(MARK)
        ids = {
            value[mark_end : at + _NONCE_AT]
            for value in values
            if value is not None and value[at:mark_end] == MARK
        }
        unknown = ids - self._known.keys()
        if not unknown:
            return
        if self._clock() - self._looked_at >= _AGAIN_S:
            self._looked_at, self._looked_for = self._clock(), set()
        if unknown - self._looked_for:
            self._looked_for |= unknown
            with _later():
                await self._load(self.keys)

    async def refresh(self) -> None:
        """Follow what other servers and `cacheserver encryption` changed. Raises `StoreError`."""
        if self.keys is not None and await self.keys.changes() != self._changes:
            await self.reload()

    async def reload(self) -> None:
        """Read all keys anew; those that the store has lost are put back. Raises `StoreError`."""
        if self.keys is not None:
            with _later():
                await self._load(self.keys)
            await self.ready(STORE)

    async def supersede(self, tenant: str, mark: str) -> None:
        """Have `destroy` with this mark destroy all keys of a tenant that there are now.

        What is sealed from now on stays. Raises `StoreError`.
        """
        if self.keys is not None:
            with _later():
                await self.keys.supersede(tenant, mark)
            await self.refresh()

    async def destroy(self, tenant: str, mark: str) -> int:
        """Destroy the keys from before `supersede`; how many. Raises `StoreError`."""
        if self.keys is None:
            return 0
        with _later():
            gone = await self.keys.destroy(tenant, mark)
        await self.refresh()
        return gone

    def seal(self, kind: str, tenant: str, name: str, plain: bytes) -> bytes:
        """The value to store under `name`. Raises `StoreError` where `ready` was not awaited."""
        if self.keys is None:
            return plain
        box = self._latest.get(tenant)
        if box is None:
            raise StoreError("a tenant's key is not in memory")
        return box.seal(_about(kind, tenant, name), plain)

    def open(self, kind: str, tenant: str | None, name: str, value: bytes) -> bytes:
        """Return the plain value, or one from before encryption was on. Raises `Unsealed`.

        `tenant` None: whoever's it is, where `name` can be of one tenant only.
        """
        if not value.startswith(MARK):
            return value
        if self.keys is None:
            raise Unsealed("off")
        known = self._known.get(value[len(MARK) : _NONCE_AT])
        if known is None:
            raise Unsealed("key")
        whose, box = known
        if tenant is not None and tenant != whose:
            raise Unsealed("changed")
        return box.open(_about(kind, whose, name), value)

    def opened(self, kind: str, tenant: str | None, name: str, value: bytes | None) -> bytes | None:
        """`open`, with None for what is not there, and for what does not open, which is counted."""
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
        """Return `how` of the opened value; None, counted, where that fails."""
        plain = self.opened(kind, tenant, name, value)
        return None if plain is None else self.decoded(lambda: how(plain))

    def decoded(self, how: Callable[[], T]) -> T | None:
        """Return what `how` returns; None, counted, where what it decodes is not what it should be.

        A value without its mark passes for one from before encryption, whoever wrote it.
        """
        try:
            return how()
        except (ValueError, TypeError, LookupError, AttributeError, zlib.error):
            self._unreadable("torn")
            return None

    def digest(self, tenant: str, plain: bytes) -> bytes:
        """An HMAC-SHA256 that says nothing of `plain` to who has not the tenant's keys.

        The same after a rotation. Raises `StoreError` where `ready` was not awaited, or
        encryption is off.
        """
        key = self._digests.get(tenant)
        if key is None:
            raise StoreError("a tenant's key is not in memory")
        return hmac.digest(key, plain, "sha256")

    def learn(self, tenant: str, held: Iterable[Generation]) -> None:
        """Hold a tenant's keys in memory, the latest last."""
        self._held[tenant] = list(held)
        for one in self._held[tenant]:
            box = DataKeyCipher(one.id, one.data)
            self._known[one.id] = tenant, box
            self._latest[tenant] = box
            self._digests[tenant] = HKDF(
                SHA256(), KEY_BYTES, salt=None, info=b"cacheserver digests"
            ).derive(one.root)

    async def _load(self, keys: DataKeys) -> None:
        changes = await keys.changes()  # before: what changes meanwhile is read once more
        found = await keys.load()
        # What is destroyed leaves a later key: a tenant without any was lost with the store's data,
        # or made while this was read; and values of theirs have been written since.
        lost = {tenant: held for tenant, held in self._held.items() if tenant not in found}
        if lost:
            await keys.put_back(lost)
            found = await keys.load()
        self._held, self._latest, self._known, self._digests = {}, {}, {}, {}
        for tenant, held in found.items():
            self.learn(tenant, held)
        self._changes = changes


def as_object(plain: bytes, *names: str) -> dict[str, Any]:
    """The JSON object in a value, with at least these names. Raises `ValueError`."""
    found = json_text.loads(plain)
    if not isinstance(found, dict) or not found.keys() >= set(names):
        raise ValueError("another kind of value")
    return found


@contextmanager
def _later() -> Iterator[None]:
    """While a server runs, a key that cannot be unwrapped is no reason to stop it."""
    try:
        yield
    except WrongKey as error:
        raise StoreError(str(error)) from None


def _about(kind: str, tenant: str, name: str) -> str:
    """Return what is authenticated beside a value; no kind has a colon, and a tenant its length."""
    return f"{kind}:{len(tenant)}:{tenant}:{name}"
