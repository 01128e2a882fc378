"""Connections to the store that end early: before a command is sent, or while they are opened.

uvloop raises `RuntimeError` for a write to a connection that has ended, where asyncio and redis-py
have `OSError`. To callers it is a store that failed, not a fault of the server. And redis-py leaves
a connection open if who opens it is cancelled, and all of a pool if who closes them is.
"""

from __future__ import annotations

from collections.abc import Iterable

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as ConnectionLost


class _Known(AbstractConnection):
    async def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None:
        try:
            await super().connect_check_health(check_health, retry_socket_connect)
        except BaseException:
            await self.disconnect(nowait=True)
            raise

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            raise ConnectionLost("the connection had ended") from error


def close_at_once(pool: ConnectionPool) -> None:
    """Close the connections of a pool that are still open, without waiting for it.

    A pool has tasks close them. Who is cancelled while it waits for these has them cancelled, and
    some may not have begun.
    """
    for one in (*pool._available_connections, *pool._in_use_connections):
        one._close()  # type: ignore[no-untyped-call]


def known(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """Return the class of connections with `ConnectionError` for one that has ended."""
    return type(kind.__name__, (_Known, kind), {})
