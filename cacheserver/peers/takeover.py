"""Agreement of the servers after a replica of the store has taken over.

Rule: each makes its removals of the last minute again, and none trusts the store before all that
live have. One that has not keeps its lease and confirms no change, so the others wait for it. So
does a server that starts on a primary that no server has trusted yet.

    P peers:agreed  string  Redis' name for the data of the primary that the servers trust
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from cacheserver.core.single_flight import end
from cacheserver.peers import scripts
from cacheserver.storage.connection import Connection, command, run_script

_PAUSE_S: Final = 0.004  # between looks whether all are ready


class Takeover:
    """The part of one server: its removals made again, and the wait for those of the others."""

    def __init__(self, redis: Connection, *, prefix: str, name: str) -> None:
        self._recent = redis.recent
        self._redis = redis
        self._agreed = f"{prefix}peers:agreed"
        self._words = (prefix, name)
        self._add = redis.register_script(scripts.ADD)
        self._lagging = redis.register_script(scripts.LAGGING)
        self._redoing: asyncio.Task[None] | None = None
        self._asked = (-1, b"")  # after how many takeovers the others were asked, by which change

    def begin(self) -> None:
        """Begin to make this server's removals again, if a replica has taken over."""
        if self._redoing is None and self._recent.due:
            self._redoing = asyncio.create_task(self._recent.redo(), name="peers:redo")

    async def is_new(self) -> bool:
        """Return whether no server has trusted this primary yet; then it is doubted here, too.

        A replica may have taken over just before this server began. Raises `StoreError`.
        """
        if not (history := self._recent.history):
            return False
        if await command(self._redis, "GET", self._agreed) == history:
            return False
        self._recent.doubt()
        return True

    async def settle(self, *, wait_s: float, all_listed: bool) -> bool:
        """Return whether every server has made its removals again, after some wait.

        False: call it again, with the lease renewed. `all_listed`: the servers that live are in the
        store's list of them by now. Raises `StoreError`.
        """
        ends = time.monotonic() + wait_s
        self.begin()
        if not await self._redone(wait_s) or not all_listed:
            return False
        generation, history = self._recent.takeovers, self._recent.history
        if self._asked[0] != generation:
            id, _, _ = await run_script(self._add, *self._words, "sync", "")
            self._asked = generation, id
        while await run_script(self._lagging, *self._words, self._asked[1]):
            if time.monotonic() > ends:
                return False
            await asyncio.sleep(_PAUSE_S)
        await command(self._redis, "SET", self._agreed, history)  # of that takeover, if it is late
        self._recent.agree(generation)
        return not self._recent.unsure

    async def close(self) -> None:
        if self._redoing is not None:
            await end(self._redoing)

    async def _redone(self, wait_s: float) -> bool:
        """Return whether this server's removals have been made again, after some wait."""
        if (task := self._redoing) is None:
            return True
        await asyncio.wait({task}, timeout=wait_s)
        if not task.done():
            return False
        self._redoing = None
        await task
        return not self._recent.due
