"""Snapshot of the running embedded store, served by a second store.

The store sends the snapshot as to a replica, from a fork, so its clients do not wait.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from cacheserver.core.errors import StoreError
from cacheserver.embedded.process import ask, exit_of, find_server, spawn

_CHUNK: Final = 1 << 20
_SILENCE_S: Final = 60.0  # the fork of a store of some gigabytes takes a second
_LOADING_S: Final = 600.0


@asynccontextmanager
async def copy(socket: Path, folder: Path, binary: Path | None = None) -> AsyncIterator[str]:
    """Yield the URL of a copy of the store at `socket`, kept in `folder` until the block ends.

    `folder` is empty, private and on a disk with room for it. Raises `StoreError`.
    """
    await _receive(socket, folder / "copy.rdb")
    # In a directory of its own (0700): a socket's path is short, and that of `folder` may not be.
    with tempfile.TemporaryDirectory(prefix="cacheserver-") as beside:
        async with _served(folder, Path(beside) / "copy.sock", binary) as url:
            yield url


@asynccontextmanager
async def _served(folder: Path, path: Path, binary: Path | None) -> AsyncIterator[str]:
    settings = [
        "port 0",
        f"unixsocket {path}",
        "unixsocketperm 600",
        "dbfilename copy.rdb",
        "databases 1",
        'save ""',
        "appendonly no",
        "loglevel warning",
    ]
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    child = spawn(
        binary or find_server(), "\n".join(settings) + "\n", lock=lock, output=folder / "log"
    )
    gone = exit_of(child)
    try:
        async with asyncio.timeout(_LOADING_S):
            while not (await ask(path, b"PING\r\n")).startswith(b"+PONG"):
                if gone.done():
                    raise StoreError("the copy of the store could not be read")
                await asyncio.sleep(0.01)
        yield f"unix://{path}"
    except TimeoutError as error:
        raise StoreError("the copy of the store takes too long to be read") from error
    finally:
        child.kill()
        await gone
        os.close(lock)


async def _receive(socket: Path, to: Path) -> None:
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError as error:
        raise StoreError("the store is away") from error
    try:
        writer.write(b"SYNC\r\n")
        async with asyncio.timeout(_SILENCE_S):
            header = b"\n"
            while header == b"\n":  # keep-alive while the snapshot is prepared
                header = await reader.readline()
        with to.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            if header.startswith(b"$EOF:"):
                await _until(reader, file.write, mark=header[5:].strip())
            elif header.startswith(b"$"):
                await _exactly(reader, file.write, int(header[1:]))
            else:
                raise StoreError("the store sends no snapshot")
    # RuntimeError: uvloop's, for a write to a connection that has ended
    except (OSError, RuntimeError, asyncio.IncompleteReadError, ValueError) as error:
        raise StoreError(f"the snapshot broke off: {type(error).__name__}") from error
    finally:
        writer.close()


async def _until(
    reader: asyncio.StreamReader, write: Callable[[bytes], object], *, mark: bytes
) -> None:
    """Read up to `mark`, forty random bytes after which commands may follow."""
    held = b""
    while (at := held.find(mark)) < 0:
        safe = max(0, len(held) - len(mark))
        write(held[:safe])
        held = held[safe:] + await _some(reader)
    write(held[:at])


async def _exactly(
    reader: asyncio.StreamReader, write: Callable[[bytes], object], size: int
) -> None:
    while size:
        part = await _some(reader, min(size, _CHUNK))
        write(part)
        size -= len(part)


async def _some(reader: asyncio.StreamReader, most: int = _CHUNK) -> bytes:
    async with asyncio.timeout(_SILENCE_S):
        data = await reader.read(most)
    if not data:
        raise StoreError("the store ended in the middle of its snapshot")
    return data
