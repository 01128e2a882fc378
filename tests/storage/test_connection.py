from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.embedded.process import find_server
from cacheserver.storage.connection import Connection, check_server, command, connect
from tests.redis_servers import serving


async def test_a_server_as_it_should_be_is_accepted_again_and_again(
    redis: Connection, prefix: str
) -> None:
    await check_server(redis, prefix=prefix)
    await check_server(redis, prefix=prefix)
    assert await command(redis, "GET", f"{prefix}schema") == b"1"


async def test_data_of_a_newer_version_are_refused(redis: Connection, prefix: str) -> None:
    await command(redis, "SET", f"{prefix}schema", 2)
    with pytest.raises(SettingsError, match="newer cacheserver"):
        await check_server(redis, prefix=prefix)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
async def test_a_server_that_may_drop_any_key_is_refused(policy: str) -> None:
    with serving(find_server(), "maxmemory 10mb", f"maxmemory-policy {policy}") as url:
        client = connect(url)
        with pytest.raises(SettingsError, match=f"{policy}.*noeviction"):
            await check_server(client)
        await client.aclose()


async def test_a_node_of_a_cluster_is_refused() -> None:
    with serving(find_server(), "cluster-enabled yes") as url:
        client = connect(url)
        with pytest.raises((SettingsError, StoreError)):
            await check_server(client)
        await client.aclose()


@pytest.mark.parametrize(("version", "accepted"), [("5.0.14", False), ("6.2.0", True)])
async def test_a_server_older_than_6_2_is_refused(
    version: str, accepted: bool, tmp_path: Path
) -> None:
    info = f"redis_version:{version}\r\nmaxmemory_policy:noeviction\r\n".encode()
    replies = {
        b"INFO": b"$%d\r\n%s\r\n" % (len(info), info),
        b"SETNX": b":1\r\n",
        b"EXISTS": b":0\r\n",
    }

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while header := await reader.readline():
            words = []
            for _ in range(int(header[1:])):
                await reader.readline()
                words.append((await reader.readline()).strip())
            reply = b"$1\r\n1\r\n" if words[0] == b"GET" else replies.get(words[0], b"+OK\r\n")
            writer.write(reply)
        writer.close()

    path = tmp_path / "old.sock"
    server = await asyncio.start_unix_server(serve, path)
    client = connect(f"unix://{path}")
    if accepted:
        await check_server(client)
    else:
        with pytest.raises(SettingsError, match=r"5\.0\.14.*6\.2"):
            await check_server(client)
    await client.aclose()
    server.close()
    await server.wait_closed()


def test_a_url_nobody_understands_names_the_setting() -> None:
    with pytest.raises(SettingsError, match="CACHESERVER_REDIS_URL"):
        connect("http://localhost")


async def test_a_store_that_is_away_is_a_store_error(tmp_path: Path) -> None:
    client = connect(f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(StoreError, match="ConnectionError"):
        await command(client, "GET", "key")
    await client.aclose()


async def test_an_error_of_the_server_never_repeats_what_was_sent(
    redis: Connection, prefix: str
) -> None:
    await command(redis, "SET", f"{prefix}text", "a secret")
    with pytest.raises(StoreError, match="WRONGTYPE") as caught:
        await command(redis, "HSET", f"{prefix}text", "field", "a secret")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
