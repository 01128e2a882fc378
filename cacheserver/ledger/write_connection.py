"""Dedicated connection for the ledger's writes, on the request path.

A small command takes 107 us through redis-py over a Unix socket; 60 us of them are the pool,
packing in Python and a task for each timeout (measured). Here hiredis packs the command, and there
is one timeout.
"""

from __future__ import annotations

import asyncio
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection

from cacheserver.storage.connection import FAILURES, Connection, as_store_error


class WriteConnection:
    """Connection that sends one command at a time, each within `timeout_s`."""

    def __init__(self, redis: Connection, *, timeout_s: float = 2.0) -> None:
        self._pool = redis.connection_pool
        self._timeout_s = timeout_s
        self._connection: AbstractConnection | None = None

    async def send(self, *words: str | bytes) -> Any:
        """Send a command and return its reply. Raises `StoreError`; the next call reconnects."""
        packed: Any = words  # hiredis' own type leaves out tuples of several
        connection = self._connection
        if connection is None:
            given = {**self._pool.connection_kwargs, "socket_timeout": None}
            connection = self._connection = self._pool.connection_class(**given)
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.send_packed_command(hiredis.pack_command(packed))
                return await connection.read_response()
        except BaseException as error:  # an unread reply would be taken for the next call's
            self._connection = None
            await connection.disconnect(nowait=True)
            if isinstance(error, FAILURES):
                raise as_store_error(error) from None
            raise

    async def close(self) -> None:
        """Close the connection. `send` may be called again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect()
