"""A connection that ended is a failure of the store, under the event loop of the server too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from redis.asyncio.connection import AbstractConnection

from cacheserver.core.errors import StoreError
from cacheserver.storage.connection import command, connect, store_errors

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
