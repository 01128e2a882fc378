"""Dedicated connection for one Lua script on the request path.

A small script takes 107 us through redis-py over a Unix socket; 60 us of them are the pool, the
script object, packing in Python and a task for each timeout (measured). Here hiredis packs the
command, and there is one timeout.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError

from cacheserver.storage.connection import FAILURES, Connection, as_store_error


class ScriptConnection:
    """Connection that runs one script, one call at a time, each within `timeout_s`."""

    def __init__(self, redis: Connection, script: str, *, timeout_s: float = 2.0) -> None:
        self._pool = redis.connection_pool
        self._script = script
        self._sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._timeout_s = timeout_s
        self._connection: AbstractConnection | None = None

    async def run(self, *words: str | bytes | int) -> Any:
        """Run the script and return its reply. Raises `StoreError`; the next call reconnects."""
        connection = self._connection
        if connection is None:
            given = {**self._pool.connection_kwargs, "socket_timeout": None}
            connection = self._connection = self._pool.connection_class(**given)
        try:
            async with asyncio.timeout(self._timeout_s):
                try:
                    return await _ask(connection, ("EVALSHA", self._sha, 0, *words))
                except NoScriptError:
                    return await _ask(connection, ("EVAL", self._script, 0, *words))
        except BaseException as error:  # an unread reply would be taken for the next call's
            self._connection = None
            await connection.disconnect(nowait=True)
            if isinstance(error, FAILURES):
                raise as_store_error(error) from None
            raise

    async def close(self) -> None:
        """Close the connection. `run` may be called again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect()


async def _ask(connection: AbstractConnection, words: tuple[Any, ...]) -> Any:
    await connection.send_packed_command(hiredis.pack_command(words))
    return await connection.read_response()
