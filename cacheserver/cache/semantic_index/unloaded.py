"""Names of the questions in scopes whose vectors are not in memory. Pure.

A name is an entry's id and fingerprint, packed into 48 bytes: the names of a million questions take
48 MB, their vectors more than a gigabyte.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator

import orjson

from cacheserver.cache.semantic_index.keys import pack, unpack

_WIDTH = 48  # bytes of a name
PAGE = 1_000  # names compared with the store at a time: one command
_HEAD = struct.Struct("<I")  # length of the JSON that says which scopes there are


def pack_all(names: Iterable[str]) -> bytes:
    return pack("".join(names))


def unpack_all(packed: bytes) -> list[str]:
    digits, width = unpack(packed), 2 * _WIDTH
    return [digits[at : at + width] for at in range(0, len(digits), width)]


def pages_of(packed: bytes) -> Iterator[list[str]]:
    """Yield packed names, some at a time."""
    for at in range(0, len(packed), PAGE * _WIDTH):
        yield unpack_all(packed[at : at + PAGE * _WIDTH])


class Unloaded:
    """Packed names by scope, in the order in which they were added."""

    def __init__(self) -> None:
        self._names: dict[str, bytearray] = {}
        self._bytes = 0
        self._pages = self._walk()

    def __len__(self) -> int:
        """Return the number of names; one that was added twice counts twice."""
        return self._bytes // _WIDTH

    def __contains__(self, scope: object) -> bool:
        return scope in self._names

    @property
    def scope_count(self) -> int:
        return len(self._names)

    def put(self, scope: str, packed: bytes) -> None:
        """Have these names in a scope, in the place of any before; also none."""
        self.pop(scope)
        self._names[scope] = bytearray(packed)
        self._bytes += len(packed)

    def pop(self, scope: str) -> bytes:
        """Remove a scope; return its packed names."""
        gone = self._names.pop(scope, b"")
        self._bytes -= len(gone)
        return bytes(gone)

    def names_of(self, scope: str) -> list[str]:
        """Return the names of a scope, each once, in the order in which it was added last."""
        names = dict.fromkeys(reversed(unpack_all(bytes(self._names.get(scope, b"")))))
        return list(reversed(names))

    def add(self, scope: str, name: str) -> None:
        self._names[scope] += pack(name)
        self._bytes += _WIDTH

    def holds(self, scope: str, name: str) -> bool:
        names = self._names.get(scope)
        if not names:
            return False
        return next(_places(names, pack(name)), None) is not None

    def remove(self, scope: str, name: str) -> bool:
        """Remove a name; return whether it was in."""
        names = self._names.get(scope)
        if not names:
            return False
        places = list(_places(names, pack(name)))
        for at in reversed(places):
            del names[at : at + _WIDTH]
        self._bytes -= _WIDTH * len(places)
        return bool(places)

    def discard(self, scope: str, names: Collection[str]) -> int:
        """Remove these names from a scope; return how many were in."""
        before = self._names.get(scope, bytearray())
        left = [name for name in unpack_all(bytes(before)) if name not in names]
        gone = len(before) // _WIDTH - len(left)
        if gone:
            self.put(scope, pack_all(left))
        return gone

    def forget_empty(self, scope: str) -> None:
        """Forget a scope that has no names any more."""
        if scope in self._names and not self._names[scope]:
            del self._names[scope]

    def scopes(self) -> list[str]:
        return list(self._names)

    def copy(self) -> dict[str, bytes]:
        """Return all packed names."""
        return {scope: bytes(names) for scope, names in self._names.items() if names}

    def next_page(self) -> list[tuple[str, str]]:
        """Return some names with their scopes. Call by call all come, then all again."""
        page: list[tuple[str, str]] = []
        while len(page) < PAGE:
            found = next(self._pages, None)
            if found is None:
                self._pages = self._walk()
                break
            page += found
        return page

    def _walk(self) -> Iterator[list[tuple[str, str]]]:
        for scope in list(self._names):
            at = 0
            while some := self._names.get(scope, b"")[at : at + PAGE * _WIDTH]:
                yield [(name, scope) for name in unpack_all(bytes(some))]
                at += len(some)


def write(names: dict[str, bytes]) -> bytes:
    """Return packed names by scope as bytes."""
    if not names:
        return b""
    head = orjson.dumps([[scope, len(packed)] for scope, packed in names.items()])
    return b"".join((_HEAD.pack(len(head)), head, *names.values()))


def read(data: bytes) -> dict[str, bytes]:
    """Return what `write` wrote. Raises `ValueError` for what it did not write."""
    if not data:
        return {}
    try:
        (length,) = _HEAD.unpack_from(data)
        at, names = _HEAD.size + length, dict[str, bytes]()
        for scope, size in orjson.loads(data[_HEAD.size : at]):
            names[str(scope)] = data[at : at + size]
            at += size
    except (struct.error, TypeError) as error:
        raise ValueError("these are no names of scopes") from error
    if at != len(data) or any(len(packed) % _WIDTH for packed in names.values()):
        raise ValueError("these are no names of scopes")
    return names


def _places(names: bytes | bytearray, name: bytes) -> Iterator[int]:
    """Yield where a name is in packed ones."""
    at = names.find(name)
    while at >= 0:
        if at % _WIDTH == 0:
            yield at
        at = names.find(name, at + 1)
