"""Copy of all keys under a prefix as Redis commands that recreate them.

It covers every type that the stores use, in parts, so that memory does not grow with a key's size.
Vector sets are left out: a server makes them anew from the stored vectors.
Each key begins with `DEL`, so a key that `SCAN` returns twice is created once.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from cacheserver.cache.semantic_index.keys import DERIVED
from cacheserver.core.errors import StoreError
from cacheserver.storage.connection import Connection, command, store_errors
from cacheserver.storage.key_scan import scan_keys
from cacheserver.storage.primary_views import untagged

_ITEMS: Final = 500  # per command: about 100 kB of vectors
_BATCH_BYTES: Final = 1 << 20  # written per round trip

Words = tuple[bytes | str | int | float, ...]


async def read_keys(redis: Connection, prefix: str) -> AsyncIterator[Words]:
    """Yield the commands that recreate every key under `prefix`. Raises `StoreError`."""
    derived = tuple(f"{untagged(prefix)}{one}".encode() for one in DERIVED)
    async for page in scan_keys(redis, prefix):
        found = [key for key in page if not key.startswith(derived)]
        if not found:
            continue
        with store_errors():
            async with redis.pipeline(transaction=False) as pipe:
                for key in found:
                    pipe.type(key)
                    pipe.pttl(key)
                replies = await pipe.execute()
        now_ms = time.time() * 1000
        for key, kind, left_ms in zip(found, replies[::2], replies[1::2], strict=True):
            if left_ms == -2:
                continue  # gone since
            yield ("DEL", key)
            async for words in _values(redis, key, kind):
                yield words
            if left_ms >= 0:
                yield ("PEXPIREAT", key, round(now_ms + left_ms))


async def write_keys(redis: Connection, commands: Iterable[list[bytes]]) -> int:
    """Run `commands` and return their number. Raises `StoreError` if the server refuses one."""
    count = size = 0
    batch: list[list[bytes]] = []
    for words in commands:
        batch.append(words)
        size += sum(map(len, words))
        count += 1
        if size >= _BATCH_BYTES:
            await _run(redis, batch)
            batch, size = [], 0
    if batch:
        await _run(redis, batch)
    return count


async def _run(redis: Connection, batch: list[list[bytes]]) -> None:
    with store_errors():
        async with redis.pipeline(transaction=False) as pipe:
            for words in batch:
                pipe.execute_command(*words)
            await pipe.execute()


async def _values(redis: Connection, key: bytes, kind: bytes) -> AsyncIterator[Words]:
    match kind:
        case b"string":
            value = await command(redis, "GET", key)
            if value is not None:
                yield ("SET", key, value)
        case b"list":
            start = 0
            while part := await command(redis, "LRANGE", key, start, start + _ITEMS - 1):
                yield ("RPUSH", key, *part)
                start += _ITEMS
        case b"hash" | b"set" | b"zset":
            async for words in _scanned(redis, key, kind):
                yield words
        case b"stream":
            async for words in _stream(redis, key):
                yield words
        case _:
            raise StoreError(f"a key of type {kind.decode()} was not written by cacheserver")


_SCANS: Final = {b"hash": ("HSCAN", "HSET"), b"set": ("SSCAN", "SADD"), b"zset": ("ZSCAN", "ZADD")}


async def _scanned(redis: Connection, key: bytes, kind: bytes) -> AsyncIterator[Words]:
    scan, add = _SCANS[kind]
    cursor = 0
    while True:
        cursor, found = await command(redis, scan, key, cursor, "COUNT", _ITEMS)
        items = list(found.items()) if kind == b"hash" else list(found)
        for start in range(0, len(items), _ITEMS):  # a small value comes whole, whatever COUNT says
            part = items[start : start + _ITEMS]
            yield (add, key, *_flat(part, kind))
        if not int(cursor):
            return


def _flat(part: list[Any], kind: bytes) -> list[bytes | str]:
    if kind == b"set":
        return part
    if kind == b"hash":
        return [word for pair in part for word in pair]
    return [word for member, score in part for word in (repr(score), member)]


async def _stream(redis: Connection, key: bytes) -> AsyncIterator[Words]:
    about = await command(redis, "XINFO STREAM", key)
    last = about["last-generated-id"]
    if not about["length"]:
        yield ("XADD", key, last, "emptied", "")
        yield ("XDEL", key, last)
    start: bytes | str = "-"
    while part := await command(redis, "XRANGE", key, start, "+", "COUNT", _ITEMS):
        for id, fields in part:
            yield ("XADD", key, id, *(word for pair in fields.items() for word in pair))
        start = b"(" + part[-1][0]
    yield ("XSETID", key, last)
