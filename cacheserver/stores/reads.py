"""Look-ups of one moment share one round trip.

redis-py costs about 0.1 ms of our CPU per command, whatever its size, so it and not the server
bounds the look-ups per second. Keys asked for in the same turn of the event loop, or while as many
commands as allowed are under way, leave together in one MGET.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from cacheserver.errors import StoreError
from cacheserver.stores.connection import Connection, command

_MOST_KEYS = 256  # of one MGET: at 4 kB an entry, a megabyte
_MOST_UNDER_WAY = 2  # one being answered while the next is written


@dataclass(slots=True)
class _Ask:
    keys: Sequence[str]
    answer: asyncio.Future[list[bytes | None]]


class Reads:
    """Reads values by key. A caller that gives up fails nobody else's look-up."""

    def __init__(self, redis: Connection) -> None:
        self._redis = redis
        self._asked: list[_Ask] = []
        self._scheduled = False
        self._under_way: set[asyncio.Task[None]] = set()

    async def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys` in their order. Raises `StoreError`."""
        if not keys:
            return []
        loop = asyncio.get_running_loop()
        ask = _Ask(keys, loop.create_future())
        self._asked.append(ask)
        if not self._scheduled and len(self._under_way) < _MOST_UNDER_WAY:
            self._scheduled = True
            loop.call_soon(self._send)
        return await ask.answer

    async def close(self) -> None:
        """Wait for what is under way; later reads still work."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))

    def _send(self) -> None:
        self._scheduled = False
        batch: list[_Ask] = []
        size = 0
        while self._asked and (not batch or size + len(self._asked[0].keys) <= _MOST_KEYS):
            ask = self._asked.pop(0)
            if not ask.answer.done():  # cancelled while it waited
                batch.append(ask)
                size += len(ask.keys)
        if batch:
            task = asyncio.create_task(self._fetch(batch), name="store:reads")
            self._under_way.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._asked and not self._scheduled:
            self._send()

    async def _fetch(self, batch: Sequence[_Ask]) -> None:
        keys = [key for ask in batch for key in ask.keys]
        try:
            values = await command(self._redis, "MGET", *keys)
        except StoreError as error:
            for ask in batch:
                if not ask.answer.done():
                    ask.answer.set_exception(StoreError(*error.args))
            return
        except BaseException:  # cancelled with the loop: nobody may wait for ever
            for ask in batch:
                ask.answer.cancel()
            raise
        at = 0
        for ask in batch:
            if not ask.answer.done():
                ask.answer.set_result(values[at : at + len(ask.keys)])
            at += len(ask.keys)
