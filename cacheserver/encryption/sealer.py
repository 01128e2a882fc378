"""Encryption of values before they leave the process, and decryption when they are read.

Kind, tenant and name are authenticated with each value: one that was moved to another key of the
store, or to another tenant, cannot be opened.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cacheserver.core.errors import StoreError
from cacheserver.encryption.data_key_cipher import ID_END, DataKeyCipher
from cacheserver.encryption.data_keys import DataKeys, Generation, WrongKey
from cacheserver.encryption.master_key import KEY_BYTES
from cacheserver.encryption.sealed_file import SealedFiles
from cacheserver.storage.sealer import MARK, STORE, Sealer, Unsealed

_AGAIN_S: Final = 1.0  # between searches for an unknown key, which may not exist at all


class TenantSealer(Sealer):
    """Encryption of values under tenants' data keys, which are held in memory."""

    on: Final = True

    def __init__(
        self,
        keys: DataKeys,
        *,
        unreadable: Callable[[str], object] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.unreadable = unreadable
        self.keys = keys
        self._clock = clock
        self._held: dict[str, list[Generation]] = {}
        self._latest: dict[str, DataKeyCipher] = {}
        self._ciphers: dict[bytes, tuple[str, DataKeyCipher]] = {}  # by id: whose it is
        self._digests: dict[str, bytes] = {}
        self._changes: int | None = None
        self._looked_for: set[bytes] = set()  # keys that are not in the store either, of late
        self._looked_at = 0.0

    @property
    def files(self) -> SealedFiles:
        return SealedFiles(self)

    async def start(self) -> None:
        """Read all keys, and create the store's own if there are none.

        Raises `StoreError`, and `WrongKey` before anything is written if a master key does not fit.
        """
        await self._load()
        await self.ready(STORE)
        self._changes = await self.keys.changes()

    async def ready(self, *tenants: str) -> None:
        # Repeated: a concurrent reload may drop a key that was created meanwhile.
        while missing := [one for one in tenants if one not in self._latest]:
            with _later():
                self.learn(missing[0], await self.keys.make(missing[0]))

    async def know(self, values: Iterable[bytes | None], *, at: int = 0) -> None:
        mark_end = at + len(MARK)
        ids = {
            value[mark_end : at + ID_END]
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
                await self._load()

    async def refresh(self) -> None:
        if await self.keys.changes() != self._changes:
            await self.reload()

    async def reload(self) -> None:
        with _later():
            await self._load()
        await self.ready(STORE)

    async def supersede(self, tenant: str, mark: str) -> None:
        with _later():
            await self.keys.supersede(tenant, mark)
        await self.refresh()

    async def destroy(self, tenant: str, mark: str) -> int:
        with _later():
            gone = await self.keys.destroy(tenant, mark)
        await self.refresh()
        return gone

    def seal(self, kind: str, tenant: str, name: str, plain: bytes) -> bytes:
        box = self._latest.get(tenant)
        if box is None:
            raise StoreError("a tenant's key is not in memory")
        return box.seal(_about(kind, tenant, name), plain)

    def open(self, kind: str, tenant: str | None, name: str, value: bytes) -> bytes:
        if not value.startswith(MARK):
            return value
        cipher = self._ciphers.get(value[len(MARK) : ID_END])
        if cipher is None:
            raise Unsealed("key")
        whose, box = cipher
        if tenant is not None and tenant != whose:
            raise Unsealed("changed")
        return box.open(_about(kind, whose, name), value)

    def digest(self, tenant: str, plain: bytes) -> bytes:
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

    async def _load(self) -> None:
        keys = self.keys
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
