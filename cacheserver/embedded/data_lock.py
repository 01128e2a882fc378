"""Locks of a data directory: one server and one store at a time.

cacheserver holds `server.lock`; the store's process inherits `valkey.lock`. The kernel releases
each when its holders end. If `valkey.lock` is held while `server.lock` is free, the store's server
was killed; the store is about to end (Linux signals it) or is asked to stop.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import os
import time
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path

from cacheserver.core.errors import SettingsError

_PATIENCE_S = 10.0  # for a store to stop: what is left to sync is a second of writes


# Of this process. A forked child gives them up: the kernel would keep a lock for a child that
# outlives us, and nobody could start again.
_taken: weakref.WeakSet[DataLock] = weakref.WeakSet()


class InUse(SettingsError):
    """Another cacheserver holds the directory."""


class DataLock:
    """Pair of locks of one `store` directory. `take` takes both or none."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory
        self._handles: list[int] = []
        self.held = False

    @property
    def childs(self) -> int:
        """Return the descriptor of `valkey.lock`, which the store's process inherits."""
        return self._handles[1]

    async def take(self, ask_to_stop: Callable[[], Awaitable[None]]) -> None:
        """Take both locks; `ask_to_stop` is called for a store whose server was killed.

        Raises `InUse` if another cacheserver has them.
        """
        _give_up_in_children()
        _taken.add(self)
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._dir.chmod(0o700)
        ours = self._open("server.lock")
        if not _try_lock(ours):
            self.release()
            raise InUse(
                f"`CACHESERVER_DATA_DIR`: another cacheserver runs on {self._dir.parent}; "
                "stop it or give this one a directory of its own"
            )
        childs = self._open("valkey.lock")
        started = time.monotonic()
        asked = False
        while not _try_lock(childs):
            waited = time.monotonic() - started
            if waited > _PATIENCE_S:
                self.release()
                raise SettingsError(
                    f"`CACHESERVER_DATA_DIR`: a store left behind on {self._dir.parent} does not "
                    "stop; end that valkey-server or redis-server process and start again"
                )
            if waited > 0.5 and not asked:  # no parent-death signal reached it
                asked = True
                await ask_to_stop()
            await asyncio.sleep(0.01)
        self.held = True

    def release(self) -> None:
        """Release both locks. Idempotent."""
        self.held = False
        while self._handles:
            os.close(self._handles.pop())

    def _open(self, name: str) -> int:
        handle = os.open(self._dir / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._handles.append(handle)
        return handle


@functools.cache
def _give_up_in_children() -> None:
    os.register_at_fork(after_in_child=_give_up)


def _give_up() -> None:
    for lock in list(_taken):
        lock.release()


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
