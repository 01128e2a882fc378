from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cacheserver.core.errors import StoreError
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.storage.batched_reads import BatchedReads
from cacheserver.storage.connection import Connection, command, connect


async def test_values_come_in_the_order_of_their_keys_to_whoever_asked(
    redis: Connection, prefix: str
) -> None:
    names = [f"{prefix}{number}" for number in range(600)]
    for number, name in enumerate(names):
        await command(redis, "SET", name, number)
    reads = BatchedReads(redis)
    asked = [names[start : start + 5] for start in range(0, 600, 5)] + [[names[7]], []]
    found = await asyncio.gather(*(reads.read(keys) for keys in asked))
    assert found == [[key.removeprefix(prefix).encode() for key in keys] for keys in asked]
    assert await reads.read([f"{prefix}none", names[3]]) == [None, b"3"]
    await reads.close()


async def test_a_store_that_was_started_anew_is_read_as_if_nothing_had_happened(
    tmp_path: Path,
) -> None:
    store = EmbeddedStore(tmp_path)
    client = connect(await store.start())
    await command(client, "SET", "k", "v")
    reads = BatchedReads(client)
    assert await reads.read(["k"]) == [b"v"]
    await store.stop()
    await store.start()
    assert await reads.read(["k"]) == [b"v"]
    await store.stop()
    with pytest.raises(StoreError):
        await reads.read(["k"])
    await store.start()
    assert await reads.read(["k"]) == [b"v"]
    await reads.close()
    await client.aclose()
    await store.stop()


async def test_an_answer_that_comes_too_late_reaches_nobody(url: str, redis: Connection) -> None:
    client = connect(url, timeout_s=0.1)
    reads = BatchedReads(client)
    await command(redis, "MSET", "late", "x", "next", "y")
    assert await reads.read(["next"]) == [b"y"]
    await command(redis, "CLIENT", "PAUSE", 1_000, "ALL")
    with pytest.raises(StoreError):
        await reads.read(["late"])
    await command(redis, "PING")  # answered when the pause is over, as `late` is
    assert await reads.read(["next"]) == [b"y"]
    await reads.close()
    await client.aclose()


async def test_closed_readers_leave_the_pool_to_others(url: str) -> None:
    client = connect(url, max_connections=2, timeout_s=0.2)
    for _ in range(5):
        reads = BatchedReads(client)
        assert await reads.read(["none"]) == [None]
        await reads.close()
        await reads.close()
    await client.aclose()
