"""Embedded store: a Valkey server that cacheserver runs on its data directory.

DATA_DIR/store/        0700: what is in it, and the socket, is for this user only
    server.lock valkey.lock
    store.json         where the socket is
    synced             the synced size of each file
    valkey.log appendonlydir/
    valkey.sock        or in a runtime directory, if this path would be too long
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType

import orjson

from cacheserver.core.errors import SettingsError
from cacheserver.embedded.aof_repair import AofRepair
from cacheserver.embedded.aof_sync import AofSync
from cacheserver.embedded.data_lock import DataLock
from cacheserver.embedded.process import ask, exit_of, find_server, spawn

_LONGEST_PATH = 100  # bytes; the kernel takes 107 (Linux) or 103 (macOS)
_PATIENCE_S = 10.0  # for a child to stop: it has at most a second of writes to flush
_SILENCE_S = 30.0  # without any reply to PING, "I am loading" included
_LONGEST_PAUSE_S = 30.0  # between restarts of a child that keeps dying

log = logging.getLogger(__name__)


def running_url(data_dir: Path) -> str | None:
    """Return the URL of the store that runs on `data_dir`; None if none runs."""
    path = noted(data_dir.resolve() / "store").socket
    if path is None:
        return None
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return None
    return f"unix://{path}"


@dataclass(frozen=True, slots=True)
class Note:
    """Contents of `store.json`."""

    socket: Path | None = None
    shared: bool = False  # run by one of several processes; by a server otherwise


class EmbeddedStore:
    """Supervised server of one data directory.

    Writes are in the kernel before they are acknowledged, so killing either process loses nothing.
    `sync` writes them to the disk every second, so a power cut loses that second and the time of
    the sync.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        max_memory: int | None = None,
        binary: Path | None = None,
        runtime_dir: Path | None = None,
        shared: bool = False,
    ) -> None:
        """`max_memory` is in bytes; beyond it writes fail and reads go on. `runtime_dir` takes the
        socket where its path in `data_dir` is too long; a temporary directory by default. `shared`
        tells other processes that one of them may run the store next (`SharedStore`)."""
        self.restarts = 0  # of a child that ended unexpectedly
        self.repairs: list[str] = []  # sentences on what was cut or recreated at any start
        self._dir = data_dir.resolve() / "store"
        self._max_memory = max_memory
        self._binary = binary
        self._runtime_dir = runtime_dir
        self._shared = shared
        self._url: str | None = None
        self._lock = DataLock(self._dir)
        self._socket = self._dir / "valkey.sock"
        self._child: subprocess.Popen[bytes] | None = None
        self._gone: asyncio.Future[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self.sync = AofSync(self._dir, rewrite=self._rewrite)

    async def __aenter__(self) -> str:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return None if self._child is None else self._child.pid

    async def start(self) -> str:
        """Start the server and return its URL once it has loaded its data and answers.

        From then on it is restarted whenever it ends. Raises `InUse` if another cacheserver uses
        the directory, and `SettingsError` if the server does not start, or if its files have damage
        that only `repair` may cut.
        """
        if self._url is not None:
            return self._url
        binary = self._binary or find_server()
        try:
            await self._lock.take(lambda: ask_to_stop(self._dir))
            self._socket = self._place_socket()
            (self._dir / "valkey.log").write_bytes(b"")
            self.sync.start()
            await self._launch(binary)
        except BaseException:
            await self.stop()
            raise
        self._url = f"unix://{self._socket}"
        self._watch = asyncio.create_task(self._restart_for_ever(binary), name="store:watch")
        return self._url

    async def stop(self) -> None:
        """Stop the server with its data synced. Idempotent; `start` may follow."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
            self._watch = None
        if self._child is not None and self._gone is not None:
            try:  # at once: it sees a signal only ten times a second
                await ask(self._socket, b"SHUTDOWN\r\n")
            finally:
                self._child.terminate()
            done, _ = await asyncio.wait({self._gone}, timeout=_PATIENCE_S)
            if not done:
                self._child.kill()
                await self._gone
        await asyncio.to_thread(self.sync.stop)
        self._child = self._gone = self._url = None
        if self._lock.held:
            _remove_socket(self._dir)
        self._lock.release()

    async def repair(self) -> list[str]:
        """Repair damage that `start` refuses; returns sentences on what was done.

        Raises `SettingsError` if no data can be kept.
        """
        binary = self._binary or find_server()
        await self._lock.take(lambda: ask_to_stop(self._dir))
        try:
            repair = AofRepair(self._dir, binary, forced=True)
            return await _to_its_end(lambda: [*repair.manifest(), *repair.files()])
        finally:
            self._lock.release()

    def _place_socket(self) -> Path:
        _remove_socket(self._dir)  # of a server that was killed
        path = self._dir / "valkey.sock"
        if len(os.fsencode(path)) >= _LONGEST_PATH:
            path = self._short_folder() / path.name
        note = self._dir / "store.json.new"
        note.write_bytes(orjson.dumps({"socket": os.fspath(path), "shared": self._shared}))
        note.replace(self._dir / "store.json")
        return path

    def _short_folder(self) -> Path:
        """Return a folder of ours with a short path; the same each time, so that who is connected
        to the socket finds the next one.
        """
        name = f"cacheserver-{sha256(os.fsencode(self._dir)).hexdigest()[:16]}-{os.getuid()}"
        folder = (self._runtime_dir or Path(tempfile.gettempdir())) / name
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o77:
            return folder
        # Somebody else took the name. mkdtemp: 0700 and a name nobody can take first
        return Path(tempfile.mkdtemp(prefix="cacheserver-", dir=self._runtime_dir))

    async def _launch(self, binary: Path) -> None:
        """Start the child, after repairs if necessary, and wait until it answers."""
        repair = AofRepair(self._dir, binary)
        self.repairs += await _to_its_end(repair.manifest)
        try:
            await self._spawn(binary)
        except SettingsError:
            if self._child is None or self._child.poll() is None:
                raise  # it runs, and its files are its own
            mended = await _to_its_end(repair.files)
            if not mended:
                raise
            self.repairs += mended
            await self._spawn(binary)

    async def _spawn(self, binary: Path) -> None:
        self._child = spawn(
            binary, self._settings(), lock=self._lock.childs, output=self._dir / "valkey.log"
        )
        self._gone = exit_of(self._child)
        await self._answers(self._child)

    def _rewrite(self) -> None:
        """Ask the child to rewrite its file from memory. Called by the sync thread."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.settimeout(1)
            line.connect(os.fspath(self._socket))
            line.sendall(b"BGREWRITEAOF\r\n")
            line.recv(64)

    def _settings(self) -> str:
        lines = [
            "port 0",
            f"unixsocket {_quoted(self._socket)}",
            "unixsocketperm 600",
            f"dir {_quoted(self._dir)}",
            "databases 1",
            "daemonize no",
            "loglevel warning",
            'save ""',  # the append-only file is the truth; a second copy on disk is only load
            "appendonly yes",
            "repl-diskless-sync-delay 0",  # a backup is the only replica there is, and waits for it
            "appendfsync no",  # `sync` does it: see there
            "aof-rewrite-incremental-fsync yes",
            "aof-load-truncated no",  # `AofRepair` cuts, keeps what it cuts, and says so
            "maxmemory-policy noeviction",
            f"maxmemory {self._max_memory or 0}",
        ]
        return "\n".join(lines) + "\n"

    async def _answers(self, child: subprocess.Popen[bytes]) -> None:
        heard = time.monotonic()
        while True:
            if child.poll() is not None:
                raise SettingsError(
                    "the embedded store did not start "
                    f"(exit {child.returncode}): {self._last_words()}"
                )
            reply = await ask(self._socket, b"PING\r\n")
            if reply.startswith(b"+PONG"):
                return
            if reply:  # loading
                heard = time.monotonic()
            if time.monotonic() - heard > _SILENCE_S:
                raise SettingsError(f"the embedded store does not answer: {self._last_words()}")
            await asyncio.sleep(0.02 if reply else 0.005)  # loading takes CPU from nobody

    def _last_words(self) -> str:
        lines = (self._dir / "valkey.log").read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) or "it wrote nothing to its log"

    async def _restart_for_ever(self, binary: Path) -> None:
        pause_s = 0.0
        while self._gone is not None:
            started = time.monotonic()
            await asyncio.shield(self._gone)
            self.restarts += 1
            if time.monotonic() - started > _PATIENCE_S:
                pause_s = 0.0
            log.warning("the embedded store ended unexpectedly; restarting it in %.1f s", pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(max(0.1, pause_s * 2), _LONGEST_PAUSE_S)
            try:
                await self._launch(binary)
            except (SettingsError, OSError) as error:
                log.error("the embedded store could not be restarted: %s", error)


def _quoted(path: Path) -> str:
    escaped = os.fspath(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def noted(directory: Path) -> Note:
    """Return what the store of a `store` directory has written down; an empty note if nothing."""
    try:
        found = orjson.loads((directory / "store.json").read_bytes())
        return Note(Path(found["socket"]), bool(found.get("shared")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Note()


def _remove_socket(directory: Path) -> None:
    path = noted(directory).socket
    if path is None:
        return
    path.unlink(missing_ok=True)
    if path.parent != directory:
        with contextlib.suppress(OSError):
            path.parent.rmdir()
    (directory / "store.json").unlink(missing_ok=True)


async def ask_to_stop(directory: Path) -> None:
    path = noted(directory).socket
    if path is not None:
        await ask(path, b"SHUTDOWN\r\n")


async def _to_its_end(repair: Callable[[], list[str]]) -> list[str]:
    """Run a repair in a thread. Cancelled, it waits for its end: the lock is held until then."""
    running = asyncio.ensure_future(asyncio.to_thread(repair))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise
