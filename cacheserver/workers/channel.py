"""Channel between the parent and a worker: questions and words, each a line of JSON.

{"ask": number, "topic": topic}     a question
{"is": number, "value": value}      its answer
{"say": topic, "value": value}      what needs none
"""

from __future__ import annotations

import asyncio
import contextlib
import json  # not orjson: gauges may be NaN and infinite
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

_LONGEST: Final = 1 << 24  # bytes of a line: a thousand times what metrics take
_CLOSE_S: Final = 1.0  # to send what was said last


class Channel:
    """One end. `answer` is asked what the other end asks, `heard` is told what it says."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        answer: Callable[[str], Awaitable[Any]],
        heard: Callable[[str, Any], object],
    ) -> None:
        self._sock = sock
        self._answer = answer
        self._heard = heard
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None
        self._answering: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(
            sock=self._sock, limit=_LONGEST
        )

    async def listen(self) -> None:
        """Read what comes until the other end has gone."""
        assert self._reader is not None
        try:
            with contextlib.suppress(OSError):
                while line := await self._reader.readline():
                    self._read(json.loads(line))
        finally:
            self.close()

    def close(self) -> None:
        """Close this end: questions under way fail. Idempotent."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(ConnectionError("the other end has gone"))
                asked.exception()  # somebody may have stopped to wait

    def say(self, topic: str, value: Any = None) -> None:
        self._send({"say": topic, "value": value})

    async def finish(self) -> None:
        """Send what was said, then close. Idempotent."""
        if self._writer is not None:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._writer.drain()
                    self._writer.close()
                    await self._writer.wait_closed()
        self.close()

    async def ask(self, topic: str, *, wait_s: float) -> Any:
        """Return the answer. Raises `ConnectionError` and `TimeoutError`."""
        if self._writer is None:
            raise ConnectionError("the other end has gone")
        self._number += 1
        number = self._number
        self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._send({"ask": number, "topic": topic})
            async with asyncio.timeout(wait_s):
                return await self._asked[number]
        finally:
            del self._asked[number]

    def _send(self, message: dict[str, Any]) -> None:
        # uvloop raises a RuntimeError for a write to a connection that has ended.
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    def _read(self, message: dict[str, Any]) -> None:
        if "say" in message:
            self._heard(message["say"], message["value"])
        elif "ask" in message:
            task = asyncio.create_task(self._reply(message["ask"], message["topic"]))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif (asked := self._asked.get(message["is"])) is not None and not asked.done():
            asked.set_result(message["value"])

    async def _reply(self, number: int, topic: str) -> None:
        self._send({"is": number, "value": await self._answer(topic)})
