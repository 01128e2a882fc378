"""TLS before servers that speak none: the wheels of Valkey and Redis are built without it.

A front takes TLS and plain connections on one port, as clients come with the former and the
servers among themselves with the latter.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.redis_clusters import HOST

_LAST_S = 0.05  # for connections to close
_HANDSHAKE = b"\x16"  # the first byte of TLS; Redis' protocol begins with a letter or a sign


class TlsFronts:
    """Open fronts, and the files that a client needs for them."""

    def __init__(self, directory: Path) -> None:
        self.ca_file = directory / "ca.pem"
        self.cert_file = directory / "client.pem"
        self.accepted = 0  # connections that came with TLS
        authority, own = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.cert_pem.write_to_path(self.ca_file)
        authority.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(self.cert_file)
        authority.issue_cert(HOST).configure_cert(own)
        authority.configure_trust(own)
        own.verify_mode = ssl.CERT_REQUIRED  # of clients, as Redis does by default
        self._context = own
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []

    def open(self, port: int) -> int:
        """Open a front before a port of this machine and return its own."""
        return asyncio.run_coroutine_threadsafe(self._open(port), self._loop).result()

    def serve(self) -> None:
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        for server in self._servers:
            server.close()
        self._loop.run_until_complete(asyncio.sleep(_LAST_S))
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _open(self, port: int) -> int:
        async def tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.accepted += 1
            await _joined(reader, writer, port)

        inner = await asyncio.start_server(tls, HOST, 0, ssl=self._context)
        inside = inner.sockets[0].getsockname()[1]

        async def any(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            first = await reader.read(1)
            await _joined(reader, writer, inside if first == _HANDSHAKE else port, first)

        outer = await asyncio.start_server(any, HOST, 0)
        self._servers += [inner, outer]
        return int(outer.sockets[0].getsockname()[1])


@contextmanager
def tls_fronts(directory: Path) -> Iterator[TlsFronts]:
    """Yield fronts that are served in a thread."""
    fronts = TlsFronts(directory)
    thread = threading.Thread(target=fronts.serve, name="tls-fronts", daemon=True)
    thread.start()
    try:
        yield fronts
    finally:
        fronts.stop()
        thread.join()


async def _joined(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, first: bytes = b""
) -> None:
    """Pass bytes both ways until one side ends."""
    try:
        there, back = await asyncio.open_connection(HOST, port)
    except OSError:
        writer.close()
        return
    back.write(first)
    ways = [
        asyncio.create_task(_pass_on(*way), name="front")
        for way in ((reader, back), (there, writer))
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in (back, writer):
            one.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while some := await reader.read(65_536):
            writer.write(some)
            await writer.drain()
    except OSError:
        pass
