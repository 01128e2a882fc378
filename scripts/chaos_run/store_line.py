"""The line between one server and the store: a partition is what happens to its bytes.

What a closed connection had on the way is lost, as it is in a network. The line to a cluster has a
port for each node, and the addresses that nodes tell become those ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

from tests.redis_clusters import HOST

_CHUNK = 2**16
_ADDRESS = re.compile(rb"127\.0\.0\.1:(\d{5})(?!\d)")
_HOST = f"{HOST}:".encode()
_SLOW_S = (0.02, 0.2)  # a chunk takes so long on a slow line

# What `mode` may be. Neither side is told of a line that holds: connections stay open.
CUT = "cut"  # connections are reset, and new ones too
HOLD = "hold"  # nothing arrives on either side
DEAF = "deaf"  # commands arrive and are carried out; the server hears no reply
MUTE = "mute"  # commands do not arrive
SLOW = "slow"


Store: TypeAlias = Path | int  # a socket, or the port of a node of a cluster


class StoreLine:
    """Passes bytes between a server and its store, as `mode` lets it."""

    def __init__(self, *stores: Store, seed: int, host: str = HOST) -> None:
        """`stores` is a socket, or the ports of all nodes of a cluster. The line is at `host`."""
        self._stores = stores
        self._host = host
        self._draw = random.Random(f"line {seed}")
        self._mode = ""
        self._only: Store | None = None
        self._ports: dict[bytes, bytes] = {}  # of nodes, and what the server knows them by
        self._changed = asyncio.Event()
        self._open: dict[asyncio.StreamWriter, tuple[Store, asyncio.Task[None] | None]] = {}

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self.switch(mode)

    def switch(self, mode: str, only: Store | None = None) -> None:
        """Set the mode of all connections, or of those to one node only."""
        self._mode, self._only = mode, only
        self._changed.set()
        self._changed = asyncio.Event()
        if mode == CUT:
            self.drop(only)

    def drop(self, only: Store | None = None) -> None:
        """Reset every connection that is open now, or those to one node."""
        for writer, (store, _) in list(self._open.items()):
            if only in (None, store):
                writer.transport.abort()

    def _mode_to(self, store: Store) -> str:
        return self._mode if self._only in (None, store) else ""

    @asynccontextmanager
    async def url(self) -> AsyncIterator[str]:
        """Yield the address that the server is given for its store."""
        async with AsyncExitStack() as stack:
            at: list[int] = []
            for store in self._stores:
                server = await asyncio.start_server(partial(self._serve, store), self._host, 0)
                stack.callback(server.close)
                at.append(server.sockets[0].getsockname()[1])
                if isinstance(store, int):
                    self._ports[b"%d" % store] = b"%d" % at[-1]
            try:
                scheme = "redis+cluster" if self._ports else "redis"
                yield f"{scheme}://{','.join(f'{self._host}:{port}' for port in at)}"
            finally:
                self.mode = CUT
                ends = [task for _, task in self._open.values() if task is not None]
                await asyncio.gather(*ends, return_exceptions=True)

    async def _serve(
        self, store: Store, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open[writer] = store, asyncio.current_task()
        try:
            with contextlib.suppress(OSError):
                await self._join(store, reader, writer)
        finally:
            await _abort(writer)
            del self._open[writer]

    async def _join(
        self, store: Store, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._mode_to(store) == CUT:
            return
        if isinstance(store, Path):
            up, down = await asyncio.open_unix_connection(store)
        else:
            up, down = await asyncio.open_connection(HOST, store)
        try:
            ways = (
                asyncio.ensure_future(self._pass(store, reader, down, {HOLD, MUTE})),
                asyncio.ensure_future(self._pass(store, up, writer, {HOLD, DEAF}, renamed=True)),
            )
            _, rest = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in rest:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            await _abort(down)

    async def _pass(
        self,
        store: Store,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        held: set[str],
        *,
        renamed: bool = False,
    ) -> None:
        """Pass one direction on until that side closes; in the modes of `held` nothing arrives.

        `renamed`: with the line's addresses for those of nodes.
        """
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
                mode = self._mode_to(store)
                if waiting and mode not in held:
                    if mode == SLOW:
                        await asyncio.sleep(self._draw.uniform(*_SLOW_S))
                    whole = len(waiting) - (_begun(waiting) if renamed and self._ports else 0)
                    passed = bytes(waiting[:whole])
                    del waiting[:whole]
                    writer.write(self._rename(passed) if renamed else passed)
                    await writer.drain()
        finally:
            reading.cancel()
            changed.cancel()

    def _rename(self, data: bytes) -> bytes:
        """Return data with the addresses of this line, as long as those that they replace."""
        if not self._ports:
            return data
        here = f"{self._host}:".encode()
        assert len(here) == len(_HOST)

        def renamed(found: re.Match[bytes]) -> bytes:
            port = self._ports.get(found[1])
            return found[0] if port is None else here + port

        return _ADDRESS.sub(renamed, data)


def _begun(data: bytearray) -> int:
    """Return how many bytes at the end are an address whose rest may come: no reply ends so."""
    for count in range(min(len(data), len(_HOST) + 5), 0, -1):
        tail = bytes(data[-count:])
        if _HOST.startswith(tail) or (tail.startswith(_HOST) and tail[len(_HOST) :].isdigit()):
            return count
    return 0


async def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
