"""Follower of the live documents: every server reads them when it is told of a change.

It also asks for them every two seconds, for what another program changes in the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from cacheserver.core.background import one_round
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.live.documents import LiveDocuments

logger = logging.getLogger(__name__)

# One command of some hundred bytes: less than a request's, and sooner than tenants' settings (3 s).
EVERY_S: Final = 2.0


class Followed(Protocol):
    """A document's reader."""

    @property
    def name(self) -> str: ...
    def take(self, raw: bytes | None) -> None: ...


class LiveFollower:
    """Puts the stored documents into force, from `start` to `close`."""

    def __init__(
        self,
        documents: LiveDocuments,
        followed: Sequence[Followed],
        swallowed: Callable[[str], object],
    ) -> None:
        self._documents = documents
        self._followed = followed
        self._swallowed = swallowed
        self._reads = 0  # begun
        self._in_force = 0  # which of them
        self._task: asyncio.Task[None] | None = None

    async def follow(self) -> None:
        """Put into force what is stored, or what was read even later. Raises `StoreError`."""
        writes = None
        while writes != self._documents.writes:  # else it may be from before a change made here
            writes = self._documents.writes
            self._reads += 1
            read = self._reads
            found = await self._documents.read()
        if read > self._in_force:
            self._in_force = read
            for one in self._followed:
                one.take(found.get(one.name))

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep(), name="live:follow")

    async def close(self) -> None:
        if self._task is not None:
            await end(self._task)
            self._task = None

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                with one_round():
                    await self.follow()
            except StoreError:
                self._swallowed("live-settings")
            except Exception as error:  # the task boundary: the next round tries again
                self._swallowed("live-settings")
                logger.error("following live settings failed: %s", type(error).__name__)
