"""A connection that ends early is a failure of the store, and none is left open.

Under the event loop of the server too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionLost

from cacheserver.core.errors import StoreError
from cacheserver.storage.connection import Connection, command, connect, store_errors
from cacheserver.storage.node_url import parse
from cacheserver.storage.primary import Primary
from tests.redis_clusters import HOST

LOOPS = [asyncio.run, uvloop.run]
AT_ONCE_S = 1.0  # less than the timeout of a command


def _end(connection: AbstractConnection) -> None:
    assert connection._writer is not None
    connection._writer.transport.abort()


async def ping(connection: AbstractConnection) -> None:
    await connection.send_command("PING")
    await connection.read_response()


@pytest.mark.parametrize("run", LOOPS)
def test_a_command_to_a_connection_that_has_ended_fails_as_the_store(
    url: str, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def send() -> None:
        client = connect(url)
        connection = await client.dedicated()
        _end(connection)
        await asyncio.sleep(0.01)  # the loop closes it
        with pytest.raises(StoreError), store_errors():
            await ping(connection)
        await client.aclose()

    run(send())


@pytest.mark.parametrize("run", LOOPS)
def test_a_question_to_a_sentinel_on_one_that_has_ended_fails_as_an_answer_that_does_not_come(
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    async def send() -> None:
        async with await asyncio.start_server(lambda _, writer: writer.close(), HOST, 0) as server:
            port = server.sockets[0].getsockname()[1]
            primary = Primary(parse(f"redis+sentinel://{HOST}:{port}/main"), {}, prefix="cs1:")
            pool = primary._client((HOST, port)).connection_pool
            connection = pool.connection_class(**pool.connection_kwargs)
            await connection._connect()
            _end(connection)
            await asyncio.sleep(0.01)  # the loop closes it
            with pytest.raises(ConnectionLost):
                await connection.send_command("PING", check_health=False)
            await connection.disconnect(nowait=True)

    run(send())


@pytest.mark.parametrize("run", LOOPS)
def test_a_shared_connection_that_ends_as_it_is_opened_is_opened_again(
    url: str, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def send() -> None:
        client = connect(url)
        kind = client.connection_pool.connection_class
        ending = [True]

        class Ending(kind):  # type: ignore[misc, valid-type]
            async def connect(self) -> None:
                await super().connect()
                if ending.pop() if ending else False:
                    _end(self)
                    await asyncio.sleep(0.01)

        client.connection_pool.connection_class = Ending
        async with asyncio.timeout(AT_ONCE_S):
            with pytest.raises(StoreError):
                await command(client, "PING")
            assert await command(client, "PING")
        await client.aclose()

    run(send())


async def _dedicated(client: Connection) -> None:
    await client.dedicated()


async def _shared(client: Connection) -> None:
    await command(client, "PING")


async def _of_the_pool(client: Connection) -> None:
    pipeline = client.pipeline()
    pipeline.get("a")
    await pipeline.execute()


@pytest.mark.parametrize("run", LOOPS)
@pytest.mark.parametrize("opening", [_dedicated, _shared, _of_the_pool])
def test_a_connection_is_closed_whose_opening_is_cancelled(
    tmp_path: Path,
    run: Callable[[Coroutine[Any, Any, None]], None],
    opening: Callable[[Connection], Awaitable[None]],
) -> None:
    async def hang_up() -> None:
        accepted, ended = asyncio.Event(), asyncio.Event()

        async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.set()
            while await reader.read(1 << 16):
                pass
            ended.set()
            writer.close()

        async with await asyncio.start_unix_server(never_answer, tmp_path / "s"):
            client = connect(f"unix://{tmp_path / 's'}")
            task = asyncio.ensure_future(opening(client))
            await accepted.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            async with asyncio.timeout(AT_ONCE_S):
                await client.aclose()
                await ended.wait()

    run(hang_up())


@pytest.mark.parametrize("run", LOOPS)
@pytest.mark.parametrize("turns", range(4))  # of the loop, until the closing is cancelled
def test_a_client_is_closed_though_its_closing_is_cancelled(
    url: str, run: Callable[[Coroutine[Any, Any, None]], None], turns: int
) -> None:
    async def hang_up() -> None:
        client = connect(url)
        await _shared(client)
        await _of_the_pool(client)
        link = client._shared._link
        assert link is not None
        writers = [one._writer for one in client.connection_pool._available_connections]
        transports = [link._transport, *(one.transport for one in writers if one is not None)]
        begun = asyncio.Event()

        async def close() -> None:
            begun.set()
            await client.aclose()

        closing = asyncio.ensure_future(close())
        await begun.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing})
        closed = [one.is_closing() for one in transports]
        await client.aclose()  # what was left open would disturb the next test
        assert closed == [True, True]

    run(hang_up())
