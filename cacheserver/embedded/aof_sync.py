"""Sync of the embedded store's append-only files to the disk, once a second, in a thread.

The store itself runs with `appendfsync no`: it hands each command to the kernel before it replies,
so a killed store loses nothing, however slow the disk. With `everysec` a slow sync also holds back
writes for up to 2 s, and a kill loses what was acknowledged meanwhile.

A failed sync is never trusted again: Linux may have dropped the pages it could not write, and the
next sync reports success (https://lwn.net/Articles/752063/). The file counts as unsafe until the
store has written a new one from memory, which `rewrite` requests.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from cacheserver.storage.disk import sync_directory

EVERY_S: Final = 1.0  # a power cut may lose this much, plus the time of a sync
_LONGEST_PAUSE_S: Final = 60.0  # between requests to rewrite: each may cost a gigabyte of writes
_PATIENCE_S: Final = 10.0  # as long as the store itself has to stop
_NOTE_BYTES: Final = 512  # one disk sector, written atomically

log = logging.getLogger(__name__)

_sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


@dataclass(slots=True)
class _File:
    handle: int  # kept open: the kernel reports a write error to open descriptors only
    inode: int
    synced: int = -1  # bytes that are on the disk
    unsafe: bool = False  # a sync failed


class AofSync:
    """Thread that syncs the files of `directory`, from `start` to `stop`.

    `failures` counts failed syncs. `unsynced_s` is the age of the oldest write that a power cut
    would lose now.
    """

    def __init__(
        self, directory: Path, *, rewrite: Callable[[], None], every_s: float = EVERY_S
    ) -> None:
        """`rewrite` asks the store for a new file; it is called in the thread."""
        self.failures = 0
        self._dir = directory
        self._note = directory / "synced"
        self._rewrite = rewrite
        self._every_s = every_s
        self._files: dict[Path, _File] = {}
        self._names: frozenset[str] = frozenset()
        self._safe_at = time.monotonic()
        self._ask_at, self._pause_s = 0.0, every_s  # when to ask for a rewrite again
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def unsynced_s(self) -> float:
        """Return the age in seconds of the oldest write that may not be on the disk."""
        return 0.0 if self._thread is None else time.monotonic() - self._safe_at

    @property
    def failing(self) -> bool:
        """Return whether a sync failed and not everything is on the disk again."""
        return any(file.unsafe for file in list(self._files.values()))

    def start(self) -> None:
        self._ending.clear()
        self._safe_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="store-sync", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sync once more and end the thread. Blocks for 10 s at most."""
        if self._thread is None:
            return
        self._ending.set()
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            log.error("a disk sync does not finish; a power cut may lose the last writes")
            return  # its descriptors are in use
        self._thread = None
        while self._files:
            os.close(self._files.popitem()[1].handle)

    def round(self) -> None:
        """Sync what has changed since the last round."""
        began = time.monotonic()
        try:
            self._look()
            changed = [self._sync_one(path, file) for path, file in list(self._files.items())]
            if any(changed):
                self._write_note()
        except OSError as error:  # no descriptors left, a directory that cannot be read
            self._failed("the store's files", error)
            return
        if self.failing:
            self._ask()
        else:
            self._safe_at, self._pause_s = began, self._every_s

    def _run(self) -> None:
        while not self._ending.wait(self._every_s):
            self.round()
        self.round()

    def _look(self) -> None:
        """Open new files, close deleted ones, and sync the directory if its names changed."""
        # The first is the only file of servers before Redis 7.
        folder = self._dir / "appendonlydir"
        found = [self._dir / "appendonly.aof", *folder.glob("*.incr.aof")]
        there = {path: info for path in found if (info := _stat(path)) is not None}
        for path, file in list(self._files.items()):
            info = there.get(path)
            if info is None or info.st_ino != file.inode:
                os.close(file.handle)
                del self._files[path]
        for path, info in there.items():
            if path not in self._files:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                self._files[path] = _File(handle, info.st_ino)
        there_now = folder.iterdir() if folder.is_dir() else ()
        names = frozenset(path.name for path in there_now)
        if names != self._names:
            sync_directory(folder if names else self._dir)
            self._names = names

    def _sync_one(self, path: Path, file: _File) -> bool:
        size = os.fstat(file.handle).st_size
        if size == file.synced:
            return False
        try:
            _sync(file.handle)
        except OSError as error:
            file.unsafe = True
            self._failed(path.name, error)
            return False
        file.synced = size
        return True

    def _write_note(self) -> None:
        """Record the synced size of each file: damage after it comes from a power cut."""
        sizes = {path.name: file.synced for path, file in self._files.items() if not file.unsafe}
        note = orjson.dumps(sizes).ljust(_NOTE_BYTES)
        handle = os.open(self._note, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(handle, note, 0)
        finally:
            os.close(handle)

    def _failed(self, name: str, error: OSError) -> None:
        self.failures += 1
        log.error(
            "%s could not be synced to the disk: %s; a power cut may lose the writes since "
            "then. Check the disk",
            name,
            error.strerror,
        )

    def _ask(self) -> None:
        now = time.monotonic()
        if now >= self._ask_at:
            self._ask_at = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self._rewrite()


def synced_sizes(directory: Path) -> dict[str, int]:
    """Return the recorded synced size of each file; {} if unknown."""
    try:
        found = orjson.loads((directory / "synced").read_bytes().strip(b" \0"))
        return {str(name): int(size) for name, size in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
