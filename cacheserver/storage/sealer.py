"""Port for encryption at rest: values are sealed before they are written, opened when read.

A sealed value begins with `MARK`. No text, JSON or entry does, so plain values from before
encryption are recognized and read as they are.

Rule: a value that cannot be opened is counted and treated as absent, never an error.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import IO, Any, Final, Literal, Protocol, TypeAlias, TypeVar

from cacheserver.core import json_text
from cacheserver.core.errors import StoreError

MARK: Final = b"\xffcs\x01"  # its last byte is the version of the format
STORE: Final = ""  # the owner of data that belongs to no tenant; no tenant has that name

T = TypeVar("T")

# Raised by a decoder of a malformed value.
UNDECODABLE: Final = (ValueError, TypeError, LookupError, AttributeError, zlib.error)

# `off`: encryption is not on; `key`: its key is unknown here, or destroyed; `changed`: it was
# moved, altered or belongs to another tenant; `torn`: a part of it is missing.
Reason: TypeAlias = Literal["off", "key", "changed", "torn"]


class Unsealed(ValueError):
    """Raised for a sealed value that cannot be opened."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"a sealed value cannot be opened: {reason}")
        self.reason: Reason = reason


class SealedWriter(Protocol):
    def write(self, data: Any, /) -> object: ...
    def close(self) -> None: ...


class FileFilter(Protocol):
    """Encryption of files that belong to the store itself."""

    def writing(self, file: IO[bytes], /) -> SealedWriter: ...
    def reading(self, file: IO[bytes], /) -> IO[bytes]: ...


class Sealer(Protocol):
    """Encryption of values by tenant.

    Kind, tenant and name are authenticated with each value. `unreadable` is called with the reason
    when a value cannot be opened.
    """

    unreadable: Callable[[str], object]

    @property
    def on(self) -> bool:
        """Return whether values are encrypted."""

    @property
    def files(self) -> FileFilter | None:
        """Return the filter for files; None if they stay plain."""

    async def ready(self, *tenants: str) -> None:
        """Load the tenants' keys into memory, and create missing ones. Raises `StoreError`."""

    async def know(self, values: Iterable[bytes | None], *, at: int = 0) -> None:
        """Load the keys of these sealed values, which another server may just have created.

        `at`: the offset at which the sealed part of a value begins. Raises `StoreError`.
        """

    async def refresh(self) -> None:
        """Load keys that other processes changed. Raises `StoreError`."""

    async def reload(self) -> None:
        """Load all keys; keys that the store has lost are stored again. Raises `StoreError`."""

    async def supersede(self, tenant: str, mark: str) -> None:
        """Make `destroy` with this mark destroy all keys that a tenant has now.

        Values sealed from now on stay readable. Raises `StoreError`.
        """

    async def destroy(self, tenant: str, mark: str) -> int:
        """Destroy the keys from before `supersede`; returns how many. Raises `StoreError`."""

    def seal(self, kind: str, tenant: str, name: str, plain: bytes) -> bytes:
        """Return what to store for `name`. Raises `StoreError` if `ready` was not awaited."""

    def open(self, kind: str, tenant: str | None, name: str, value: bytes) -> bytes:
        """Return the plain value of a sealed or plain one.

        `tenant` None: any tenant, if only one tenant can have `name`. Raises `Unsealed`.
        """

    def digest(self, tenant: str, plain: bytes) -> bytes:
        """Return an HMAC-SHA256 of `plain` under the tenant's keys.

        It is the same after a rotation. Raises `StoreError` if `ready` was not awaited or
        encryption is off.
        """

    def opened(self, kind: str, tenant: str | None, name: str, value: bytes | None) -> bytes | None:
        """Open a value. Returns None if it is absent, or cannot be opened, which is counted."""
        if value is None:
            return None
        try:
            return self.open(kind, tenant, name, value)
        except Unsealed as error:
            self.unreadable(error.reason)
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
        except UNDECODABLE:
            self.unreadable("torn")
            return None


class PlainSealer(Sealer):
    """Sealer of a store without encryption: values stay plain, and sealed ones are absent."""

    on: Final = False
    files: Final = None

    def __init__(self, unreadable: Callable[[str], object] = lambda _: None) -> None:
        self.unreadable = unreadable

    async def ready(self, *tenants: str) -> None:
        pass

    async def know(self, values: Iterable[bytes | None], *, at: int = 0) -> None:
        pass

    async def refresh(self) -> None:
        pass

    async def reload(self) -> None:
        pass

    async def supersede(self, tenant: str, mark: str) -> None:
        pass

    async def destroy(self, tenant: str, mark: str) -> int:
        return 0

    def seal(self, kind: str, tenant: str, name: str, plain: bytes) -> bytes:
        return plain

    def open(self, kind: str, tenant: str | None, name: str, value: bytes) -> bytes:
        if value.startswith(MARK):
            raise Unsealed("off")
        return value

    def digest(self, tenant: str, plain: bytes) -> bytes:
        raise StoreError("encryption is off: there is no key for a digest")


def as_object(plain: bytes, *names: str) -> dict[str, Any]:
    """Decode a JSON object that has at least these names. Raises `ValueError`."""
    found = json_text.loads(plain)
    if not isinstance(found, dict) or not found.keys() >= set(names):
        raise ValueError("another kind of value")
    return found
