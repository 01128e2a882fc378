"""Embedded store of several processes: the first runs it, the others connect to it.

When the process that runs it ends, another one goes on with it, under the same address. Between
them no store answers for a moment, as while a store restarts. A server (`cacheserver serve`) is
given time to come back first: its restart must find the directory free.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from cacheserver.core.errors import SettingsError
from cacheserver.core.single_flight import end
from cacheserver.embedded.data_lock import InUse
from cacheserver.embedded.process import ask
from cacheserver.embedded.store import EmbeddedStore, Note, noted

_LOOK_S = 0.1  # between looks at the store of another process: 0.1 ms each
_PATIENCE_S = 10.0  # for a store that starts or stops while we come
_SERVER_BACK_S = 30.0  # for a server to come back: a restart with its longest drain

log = logging.getLogger(__name__)


class SharedStore:
    """Store of a data directory, run here or by another process. As `EmbeddedStore`."""

    def __init__(self, data_dir: Path, *, server_back_s: float = _SERVER_BACK_S) -> None:
        self._own = EmbeddedStore(data_dir, shared=True)
        self._dir = data_dir.resolve() / "store"
        self._server_back_s = server_back_s
        self._follow: asyncio.Task[None] | None = None
        self.sync = self._own.sync  # knows of nothing unsynced while another process runs it

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
    def repairs(self) -> Sequence[str]:
        return self._own.repairs

    @property
    def pid(self) -> int | None:
        """The process id of the store if it is run here."""
        return self._own.pid

    async def start(self) -> str:
        """Return the URL of the store once it answers. Raises `SettingsError`."""
        started = time.monotonic()
        while True:
            try:
                return await self._own.start()
            except InUse:
                note = noted(self._dir)
                if note.socket is not None and await _answers(note.socket):
                    break
                if time.monotonic() - started > _PATIENCE_S:
                    raise
            await asyncio.sleep(_LOOK_S)
        self._follow = asyncio.create_task(self._take_over(note), name="store:follow")
        return f"unix://{note.socket}"

    async def stop(self) -> None:
        """Leave the store to the others, or stop it if it is run here. Idempotent."""
        if self._follow is not None:
            await end(self._follow)
            self._follow = None
        await self._own.stop()

    async def _take_over(self, note: Note) -> None:
        """Run the store once nobody else does."""
        assert note.socket is not None
        seen = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_S)
            if await _answers(note.socket):
                seen, note = time.monotonic(), _latest(self._dir, note)
                continue
            if time.monotonic() - seen < (0 if note.shared else self._server_back_s):
                continue
            try:
                url = await self._own.start()
            except InUse:  # another one took it, or it restarts
                continue
            except (SettingsError, OSError) as error:
                log.error("the embedded store of a process that ended does not start: %s", error)
                continue
            if url != f"unix://{note.socket}":
                log.error("the embedded store has another address now; restart this process")
            log.warning("the process that ran the embedded store has ended; this one runs it now")
            return


def _latest(directory: Path, note: Note) -> Note:
    """Return who runs the store now, at the same address; `note` if that is not known."""
    found = noted(directory)
    return found if found.socket == note.socket else note


async def _answers(path: Path) -> bool:
    """Return whether a store listens; it may be loading."""
    return bool(await ask(path, b"PING\r\n"))
