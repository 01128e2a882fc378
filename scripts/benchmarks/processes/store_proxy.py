"""A store of one's own behind a proxy that can delay its replies.

Delayed replies count round trips: an answer that is later by three delays waited for three.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import redis

from cacheserver.embedded.process import find_server
from scripts.benchmarks.processes.load import SERVER_CORE, temporary_folder

_LONGEST = 1 << 16
_OURS = ("info", "config|resetstat")  # what counting itself asks


class CountedStore:
    """`url` is the proxy's. `delay_s` holds for every reply from then on."""

    def __init__(self, folder: Path) -> None:
        self._behind, self._front = folder / "store.sock", folder / "proxy.sock"
        self.delay_s = 0.0
        self.url = f"unix://{self._front}"
        self._redis = redis.Redis(unix_socket_path=str(self._behind))

    def reset(self) -> None:
        self._redis.config_resetstat()

    def commands(self) -> dict[str, int]:
        """Return how often each command ran since `reset`, those inside of scripts too."""
        stats = self._redis.info("commandstats")
        found = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
        return {name: calls for name, calls in found.items() if name not in _OURS}

    async def serve(self, ready: threading.Event, ended: asyncio.Event) -> None:
        async with await asyncio.start_unix_server(self._connected, self._front):
            ready.set()
            await ended.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        store_reader, store_writer = await asyncio.open_unix_connection(self._behind)
        try:
            with contextlib.suppress(OSError):
                await asyncio.gather(
                    _copy(reader, store_writer), self._delayed(store_reader, writer)
                )
        finally:
            store_writer.close()
            writer.close()

    async def _delayed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def send() -> None:
            while True:
                at, data = await waiting.get()
                if (left := at - loop.time()) > 0:
                    await asyncio.sleep(left)
                writer.write(data)

        sending = asyncio.create_task(send())
        try:
            while data := await reader.read(_LONGEST):
                waiting.put_nowait((loop.time() + self.delay_s, data))
        finally:
            sending.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_LONGEST):
        writer.write(data)
    writer.close()


@contextlib.contextmanager
def store(*options: str, core: str = SERVER_CORE) -> Iterator[Path]:
    """A Valkey without files; yield its socket."""
    with temporary_folder() as folder:
        socket = folder / "store.sock"
        command = [str(find_server()), "--port", "0", "--unixsocket", str(socket), "--save", ""]
        child = subprocess.Popen(
            ["taskset", "-c", core, *command, *options], stdout=subprocess.DEVNULL
        )
        try:
            with redis.Redis(unix_socket_path=str(socket)) as asked:
                while True:
                    with contextlib.suppress(redis.ConnectionError):
                        asked.ping()
                        break
                    if child.poll() is not None:
                        raise RuntimeError("the store did not start")
            yield socket
        finally:
            child.terminate()
            child.wait()


@contextlib.contextmanager
def counted_store() -> Iterator[CountedStore]:
    with store() as socket:
        found, ready = CountedStore(socket.parent), threading.Event()
        loop, ended = asyncio.new_event_loop(), asyncio.Event()
        thread = threading.Thread(
            target=lambda: loop.run_until_complete(found.serve(ready, ended)), daemon=True
        )
        thread.start()
        ready.wait()
        try:
            yield found
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join(timeout=5)
