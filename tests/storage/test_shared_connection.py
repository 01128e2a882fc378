from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cacheserver.core.errors import StoreError
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.storage.connection import Connection, command, connect, read_values


async def test_each_caller_gets_the_reply_to_its_own_command(
    redis: Connection, prefix: str
) -> None:
    names = [f"{prefix}{number}" for number in range(600)]
    await asyncio.gather(*(command(redis, "SET", name, n) for n, name in enumerate(names)))
    asked = [names[start : start + 5] for start in range(0, 600, 5)] + [[names[7]], []]
    found = await asyncio.gather(*(read_values(redis, keys) for keys in asked))
    assert found == [[key.removeprefix(prefix).encode() for key in keys] for keys in asked]
    assert await read_values(redis, [f"{prefix}none", names[3]]) == [None, b"3"]


async def test_an_error_is_that_of_its_command_alone(redis: Connection, prefix: str) -> None:
    await command(redis, "SET", f"{prefix}text", "x")
    asked = [command(redis, "INCR", f"{prefix}{name}") for name in ("a", "text", "b")]
    one, failed, other = await asyncio.gather(*asked, return_exceptions=True)
    assert (one, other) == (1, 1)
    assert isinstance(failed, StoreError)


async def test_who_leaves_takes_nobody_elses_reply_along(redis: Connection, prefix: str) -> None:
    keys = [f"{prefix}{n}" for n in range(30)]
    await asyncio.gather(*(command(redis, "SET", key, key) for key in keys))
    asked = [asyncio.create_task(read_values(redis, [key])) for key in keys]
    await asyncio.sleep(0)  # all are sent
    for task in asked[::2]:
        task.cancel()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert found[1::2] == [[key.encode()] for key in keys[1::2]]
    assert all(isinstance(one, asyncio.CancelledError) for one in found[::2])


async def test_who_leaves_while_it_is_opened_leaves_the_others_theirs(url: str) -> None:
    client = connect(url)
    asked = [asyncio.create_task(command(client, "PING")) for _ in range(4)]
    await asyncio.sleep(0)
    asked[0].cancel()
    left, *found = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(left, asyncio.CancelledError)
    assert found == [True, True, True]
    await client.aclose()


async def test_values_are_sent_as_redis_py_sends_them(redis: Connection, prefix: str) -> None:
    class Whole(int):
        pass

    for value in ("ü", b"\x00\r\n", 0.1 + 0.2, 1e22, 3, Whole(4), bytearray(b"b"), "x" * 300_000):
        key = f"{prefix}value"
        await redis.execute_command("SET", key, value)
        encoded: Any = redis.get_encoder().encode(value)  # type: ignore[no-untyped-call]
        assert await redis.execute_command("GET", key) == encoded
    assert "maxmemory" in await redis.config_get("maxmemory")
    with pytest.raises(StoreError):
        await command(redis, "SET", f"{prefix}value", None)  # type: ignore[arg-type]


async def test_a_store_that_was_started_anew_is_used_as_if_nothing_had_happened(
    tmp_path: Path,
) -> None:
    store = EmbeddedStore(tmp_path)
    client = connect(await store.start())
    await command(client, "SET", "k", "v")
    await store.stop()
    await store.start()
    assert await read_values(client, ["k"]) == [b"v"]
    await store.stop()
    with pytest.raises(StoreError):
        await read_values(client, ["k"])
    await store.start()
    assert await read_values(client, ["k"]) == [b"v"]
    await client.aclose()
    await store.stop()


async def test_a_lost_connection_fails_what_was_under_way_and_no_more(
    url: str, redis: Connection
) -> None:
    client = connect(url)
    own = await command(client, "CLIENT ID")
    await command(redis, "CLIENT", "PAUSE", 10_000, "WRITE")
    asked = [asyncio.create_task(command(client, "SET", "lost", n)) for n in range(5)]
    await asyncio.sleep(0)
    await command(redis, "CLIENT", "KILL", "ID", own)
    await command(redis, "CLIENT", "UNPAUSE")
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(one, StoreError) for one in found)
    assert await command(client, "CLIENT ID") != own
    await client.aclose()
    await client.aclose()


async def test_an_answer_that_comes_too_late_reaches_nobody(url: str, redis: Connection) -> None:
    client = connect(url, timeout_s=0.1)
    await command(redis, "MSET", "late", "x", "next", "y")
    assert await read_values(client, ["next"]) == [b"y"]
    await command(redis, "CLIENT", "PAUSE", 1_000, "ALL")
    with pytest.raises(StoreError):
        await read_values(client, ["late"])
    await command(redis, "PING")  # answered when the pause is over, as `late` is
    assert await read_values(client, ["next"]) == [b"y"]
    await client.aclose()
