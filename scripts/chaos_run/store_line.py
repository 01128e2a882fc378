"""The line between one server and the store: a partition is what happens to its bytes.

What a closed connection had on the way is lost, as it is in a network.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_CHUNK = 2**16
_SLOW_S = (0.02, 0.2)  # a chunk takes so long on a slow line

# What `mode` may be. Neither side is told of a line that holds: connections stay open.
CUT = "cut"  # connections are reset, and new ones too
HOLD = "hold"  # nothing arrives on either side
DEAF = "deaf"  # commands arrive and are carried out; the server hears no reply
MUTE = "mute"  # commands do not arrive
SLOW = "slow"


class StoreLine:
    """Passes bytes between a server and the store's socket, as `mode` lets it."""

    def __init__(self, socket: Path, *, seed: int) -> None:
        self._socket = socket
        self._draw = random.Random(f"line {seed}")
        self._mode = ""
        self._changed = asyncio.Event()
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._mode = mode
        self._changed.set()
        self._changed = asyncio.Event()
        if mode == CUT:
            self.drop()

    def drop(self) -> None:
        """Reset every connection that is open now."""
        for writer in list(self._open):
            writer.transport.abort()

    @asynccontextmanager
    async def url(self) -> AsyncIterator[str]:
        """Yield the address that the server is given for its store."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            self.mode = CUT
            await asyncio.gather(*filter(None, self._open.values()), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = asyncio.current_task()
        try:
            with contextlib.suppress(OSError):
                await self._join(reader, writer)
        finally:
            await _abort(writer)
            del self._open[writer]

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == CUT:
            return
        up, down = await asyncio.open_unix_connection(self._socket)
        try:
            ways = (
                asyncio.ensure_future(self._pass(reader, down, {HOLD, MUTE})),
                asyncio.ensure_future(self._pass(up, writer, {HOLD, DEAF})),
            )
            _, rest = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in rest:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            await _abort(down)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, held: set[str]
    ) -> None:
        """Pass one direction on until that side closes; in the modes of `held` nothing arrives."""
        waiting = bytearray()
        reading = asyncio.ensure_future(reader.read(_CHUNK))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            while True:
                await asyncio.wait({reading, changed}, return_when=asyncio.FIRST_COMPLETED)
                if changed.done():
                    changed = asyncio.ensure_future(self._changed.wait())
                if reading.done():
                    if not (data := reading.result()):
                        return
                    waiting += data
                    reading = asyncio.ensure_future(reader.read(_CHUNK))
                if waiting and self.mode not in held:
                    if self.mode == SLOW:
                        await asyncio.sleep(self._draw.uniform(*_SLOW_S))
                    writer.write(bytes(waiting))
                    waiting.clear()
                    await writer.drain()
        finally:
            reading.cancel()
            changed.cancel()


async def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
