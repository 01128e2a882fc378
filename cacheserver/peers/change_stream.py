"""The stream of changes that all servers follow, and who is given them here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Final, TypeAlias

from redis.asyncio.connection import AbstractConnection

from cacheserver.core.background import one_round
from cacheserver.core.errors import StoreError
from cacheserver.peers import scripts
from cacheserver.storage.connection import Connection, run_script, store_errors

logger = logging.getLogger(__name__)

NOTHING: Final = "0-0"  # before all changes

_BLOCKED: Final = 0.5  # of a lease a read of the stream waits; its reply shows that the store lives
_READ: Final = 512  # changes read by one round trip
_RETRY_S: Final = 0.1

Counts: TypeAlias = Callable[[str], object]  # of failures, by where
Apply: TypeAlias = Callable[[Sequence[str]], Awaitable[object]]
Anew: TypeAlias = Callable[[], Awaitable[object]]
Change: TypeAlias = tuple[str, str, str, str]  # id, kind, body, name of the server that made it


@dataclass(frozen=True, slots=True)
class Listener:
    """Reader of one kind of change, given bodies in their order."""

    apply: Apply
    anew: Anew  # changes may be in force elsewhere that are not here
    missed: Anew  # changes will never come
    waited: bool  # somebody waits until it is applied


class ChangeStream:
    """The stream as this server follows it; `heard` is called each time it was read."""

    def __init__(
        self,
        redis: Connection,
        swallowed: Counts,
        *,
        prefix: str,
        name: str,
        lease_s: float,
        clock: Callable[[], float],
        heard: Callable[[], object],
    ) -> None:
        self.applied = NOTHING  # the last change
        self.heard_at = 0.0  # when the stream was last read without a failure
        self._redis = redis
        self._swallowed = swallowed
        self._prefix = prefix
        self._name = name
        self._lease_s = lease_s
        self._clock = clock
        self._told = heard
        self._listeners: dict[str, Listener] = {}
        self._heard = asyncio.Event()
        self._add = redis.register_script(scripts.ADD)
        self._seen = redis.register_script(scripts.SEEN)

    def listen(self, kind: str, listener: Listener) -> None:
        self._listeners[kind] = listener

    async def join(self) -> None:
        """Begin to follow from now on. Raises `StoreError`."""
        self.applied = await self.add("join", "")
        self.heard_at = self._clock()

    async def add(self, kind: str, body: str) -> str:
        """Add a change, and return its id. Raises `StoreError`."""
        reply = await run_script(self._add, self._prefix, self._name, kind, body)
        return str(reply[0].decode())

    async def add_again(self, kind: str, body: str) -> None:
        """Have all servers apply a change that was made again, this one too."""
        await self.add(kind, body)
        if (listener := self._listeners.get(kind)) is not None:
            await listener.apply([body])

    async def hear(self, within_s: float) -> None:
        """Wait until the stream is read, unless it was within that time. Raises `StoreError`.

        It may return without: `heard_at` tells.
        """
        if self._clock() - self.heard_at > within_s:
            self._heard.clear()
            await self.add("sync", "")  # the read of the stream returns at once
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._heard.wait()

    async def begin_anew(self) -> None:
        """Have all that is remembered dropped: others may have changed any of it."""
        for one in self._listeners.values():
            await one.anew()

    async def follow(self) -> None:
        """Read the stream and apply what is new, for ever."""
        connection = None
        try:
            while True:
                try:
                    with one_round():
                        if connection is None:
                            connection = await self._redis.dedicated()
                        await self._apply(await self._read(connection))
                except Exception as error:  # the task boundary: the lease lapses meanwhile
                    self._swallowed("peers")
                    if not isinstance(error, StoreError):
                        logger.error("following changes failed: %s", type(error).__name__)
                    if connection is not None:
                        await connection.disconnect(nowait=True)
                        connection = None
                    await asyncio.sleep(_RETRY_S)
        finally:
            if connection is not None:
                await connection.disconnect(nowait=True)

    async def _read(self, connection: AbstractConnection) -> list[Change]:
        """Return the next changes, after some time none. Raises `StoreError`."""
        stream, block_ms = f"{self._prefix}changes", round(_BLOCKED * self._lease_s * 1_000)
        after = self.applied
        with store_errors():
            await connection.send_command("XRANGE", stream, after, after)
            await connection.send_command(
                "XREAD", "COUNT", _READ, "BLOCK", block_ms, "STREAMS", stream, after
            )
            known = await connection.read_response()
            found = await connection.read_response()
        if not known:  # it was trimmed, and others with it; or the store has lost its data
            self._swallowed("peers-gap")
            joined = await self.add("join", "")
            for one in self._listeners.values():
                await one.missed()
            self.applied = joined  # not before: a beat would confirm what was missed
            return []
        self.heard_at = self._clock()
        self._heard.set()
        self._told()
        return [_read_change(id, fields) for id, fields in found[0][1]] if found else []

    async def _apply(self, changes: Sequence[Change]) -> None:
        """Apply changes in their order, those of one kind together; then confirm them."""
        waited = False
        for (kind, own), some in groupby(changes, lambda one: (one[1], one[3] == self._name)):
            bodies = [(id, body) for id, _, body, _ in some]
            listener = self._listeners.get(kind)
            if not own:
                waited = waited or listener is None or listener.waited
                if listener is not None:
                    await listener.apply([body for _, body in bodies])
            self.applied = bodies[-1][0]
        if waited and not self._redis.recent.due:
            await run_script(self._seen, self._prefix, self._name, self.applied)


def _read_change(id: bytes, fields: Sequence[bytes]) -> Change:
    """Decode a change from its fields in the stream."""
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    kind, body, origin = (found.get(name, b"").decode() for name in (b"k", b"b", b"o"))
    return id.decode(), kind, body, origin
