"""One connection for the commands of all callers: sent as they come, answered in order.

Rule: a caller that leaves early keeps its place in the queue; its reply is read and dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import hiredis
from redis._parsers.base import BaseParser
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import InvalidResponse, MovedError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as TimedOut

from cacheserver.core.single_flight import end
from cacheserver.storage.primary import is_elsewhere

_MORE: Final = object()  # the reply is not complete
_TICKS = 4  # of a timeout


class SharedConnection:
    """Connection to the server of `pool`, opened by the first command and again after a loss.

    A command is a write and a future. Through a pool of redis-py's it is 3 to 5 times the CPU: the
    pool, packing in Python, and a task for each timeout.
    """

    def __init__(self, pool: ConnectionPool, *, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._link: _Link | None = None
        self._connecting: asyncio.Task[_Link] | None = None

    async def run(self, words: Sequence[Any]) -> Any:
        """Run a command and return its reply. Raises what redis-py raises."""
        link = self._link
        if link is None or link.lost:
            link = await self._connected()
        try:
            return await link.send(words)
        except (MovedError, ReadOnlyError):  # it did not run, and the link is closed
            link = await self._connected()
            return await link.send(words)

    async def close(self) -> None:
        """Close the connection; commands under way fail. A later command opens another."""
        if self._connecting is not None:
            await end(self._connecting)
        self.abort()
        if self._link is not None:
            await self._link.ended.wait()

    def abort(self) -> None:
        """Close the connection without waiting for it."""
        if self._link is not None:
            self._link.close(ConnectionLost("closed"))

    async def _connected(self) -> _Link:
        task = self._connecting
        if task is None:
            task = self._connecting = asyncio.create_task(self._connect(), name="store:connect")
            task.add_done_callback(self._end)
        # A caller that leaves does not end the connecting of others.
        return await asyncio.shield(task)

    async def _connect(self) -> _Link:
        made: AbstractConnection = self._pool.connection_class(**self._pool.connection_kwargs)
        await made.connect()  # type: ignore[no-untyped-call]
        link = _Link(made, timeout_s=self._timeout_s)
        if link.lost:
            await made.disconnect(nowait=True)
            raise ConnectionLost("the store closed the connection as it was opened")
        self._link = link
        return link

    def _end(self, task: asyncio.Task[_Link]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()  # seen: all who waited may have left


class _Link(asyncio.Protocol):
    """A connection that redis-py has opened, with this protocol in place of its streams."""

    def __init__(self, connection: AbstractConnection, *, timeout_s: float) -> None:
        writer = connection._writer
        assert writer is not None
        # One that has ended already may have told its streams, and will not tell this protocol.
        self.lost = writer.transport.is_closing()
        self.ended = asyncio.Event()
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._transport = writer.transport
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._replies = hiredis.Reader(
            protocolError=InvalidResponse, replyError=BaseParser.parse_error, notEnoughData=_MORE
        )
        self._tick_s = timeout_s / _TICKS
        self._silent = 0  # ticks without a byte while a command waits
        self._ticking: asyncio.TimerHandle | None = None
        self._why: RedisError = ConnectionLost("the store closed the connection")
        self._transport.set_protocol(self)

    def send(self, words: Sequence[Any]) -> asyncio.Future[Any]:
        """Send a command; the future is its reply."""
        packed = self._pack(words)
        reply = self._loop.create_future()
        self._waiting.append(reply)
        self._transport.write(packed)
        if self._ticking is None:
            self._ticking = self._loop.call_later(self._tick_s, self._tick)
        return reply

    def close(self, why: RedisError) -> None:
        if not self.lost:
            self.lost, self._why = True, why
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._silent = 0
        self._replies.feed(data)
        try:
            while (reply := self._replies.gets()) is not _MORE:
                waiter = self._waiting.popleft()
                if waiter.done():
                    continue  # its caller has left
                if isinstance(reply, Exception):
                    waiter.set_exception(reply)
                    if is_elsewhere(
                        reply, self._connection
                    ):  # the next command looks for the right server
                        self.close(ConnectionLost("another server has taken over"))
                else:
                    waiter.set_result(reply)
        except (RedisError, IndexError) as error:  # no reply of this protocol, or one to nothing
            self.close(InvalidResponse(type(error).__name__))

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self._ticking is not None:
            self._ticking.cancel()
        self._connection._close()  # type: ignore[no-untyped-call]
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(type(self._why)(*self._why.args))
        self.ended.set()

    def _pack(self, words: Sequence[Any]) -> bytes:
        try:
            if " " not in words[0]:
                packed: bytes = hiredis.pack_command(tuple(words))
                return packed
        except TypeError:
            pass
        # A name of two words, as redis-py has them, or a type that hiredis does not know.
        return b"".join(self._connection.pack_command(*words))

    def _tick(self) -> None:
        self._ticking = None
        if not self._waiting:
            return
        self._silent += 1
        if self._silent > _TICKS:  # a late event loop gives the reply one more turn
            self.close(TimedOut("the store did not answer in time"))
        else:
            self._ticking = self._loop.call_later(self._tick_s, self._tick)
