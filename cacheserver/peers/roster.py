"""The roster: what each server on a store says of itself, and the settings in which all must agree.

Rule: a server whose settings would do harm beside those of a live one does not start. Where a
difference costs hits only, or ends as servers are replaced one after another, it is shown.

    P server:<name>  string  what the server says of itself, as JSON; for seconds
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from cacheserver.core.background import one_round
from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.core.single_flight import end
from cacheserver.peers.change_stream import Counts
from cacheserver.peers.server_lease import LEASE_S
from cacheserver.storage.connection import PREFIX, Connection, command

_EVERY_S: Final = 5.0
_LIFE_S: Final = 15.0  # two rounds may fail
_GONE_S: Final = 2 * LEASE_S  # by then the lease of a server that was killed has lapsed


@dataclass(frozen=True, slots=True)
class About:
    """Entry of the roster: what a server says of itself. `since` is Unix seconds, by its clock.

    `must` and `should` are settings by name, as text without secrets: a server that differs in the
    first does not start, one that differs in the second is shown. `indexes` are the kinds of index
    that it searches or fills: while it moves, not what its settings say. A server of an earlier
    version does not say (None).
    """

    version: str
    since: float
    must: Mapping[str, str] = field(default_factory=dict)
    should: Mapping[str, str] = field(default_factory=dict)
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    indexes: Sequence[str] | None = None

    @property
    def place(self) -> str:
        return f"{self.host}:{self.pid}"


@dataclass(frozen=True, slots=True)
class Server:
    """A live server. `about` is None for one that has said nothing yet, or another version's.

    `lease_s` is what is left of its lease, `behind` whether it lacks changes that others made.
    """

    name: str
    lease_s: float
    behind: bool
    about: About | None


async def live_servers(redis: Connection, prefix: str = PREFIX) -> list[Server]:
    """Return the servers that hold a lease, by name. Raises `StoreError`."""
    seconds, micros = await command(redis, "TIME")
    now_ms = int(seconds) * 1_000 + int(micros) // 1_000
    words = ("ZRANGEBYSCORE", f"{prefix}peers", f"({now_ms}", "+inf", "WITHSCORES")
    listed = await command(redis, *words)
    pairs = zip(listed[::2], listed[1::2], strict=True)
    found = sorted((name.decode(), float(ends)) for name, ends in pairs)
    if not found:
        return []
    names = [name for name, _ in found]
    told = await command(redis, "MGET", *(f"{prefix}server:{name}" for name in names))
    seen = await command(redis, "HMGET", f"{prefix}peers:seen", *names)
    last = await command(redis, "XREVRANGE", f"{prefix}changes", "+", "-", "COUNT", 1)
    latest = _place(last[0][0]) if last else (0, 0)
    return [
        Server(name, (ends - now_ms) / 1_000, _place(applied) < latest, _about(raw))
        for (name, ends), raw, applied in zip(found, told, seen, strict=True)
    ]


def _place(id: bytes | None) -> tuple[int, int]:
    """Return the place of a change in the stream."""
    if id is None:
        return 0, 0
    ms, _, number = id.decode().partition("-")
    return int(ms), int(number)


def _about(raw: bytes | None) -> About | None:
    if raw is None:
        return None
    try:
        return About(**json.loads(raw))
    except (ValueError, TypeError):
        return None


async def refuse_disagreement(
    redis: Connection, must: Mapping[str, str], *, prefix: str = PREFIX, own: str = ""
) -> None:
    """Raise `SettingsError` if a live server differs in what all must agree in, or `StoreError`.

    A server that was just killed is waited for: it looks live until its lease lapses. `own` is the
    name of this server.
    """
    for last in (False, True):
        others = [one for one in await live_servers(redis, prefix) if one.name != own]
        wrong = differences(
            must, [(one.about.place, one.about.must) for one in others if one.about]
        )
        if not wrong:
            return
        if last:
            name, mine, theirs, place = wrong[0]
            raise SettingsError(
                f"`{name}`: it is {mine} here and {theirs} on {place}, a server on the same store; "
                "give both the same, or stop that server first"
            )
        await asyncio.sleep(_GONE_S)


def differences(
    mine: Mapping[str, str], others: Sequence[tuple[str, Mapping[str, str]]]
) -> list[tuple[str, str, str, str]]:
    """Return the settings in which others differ: name, own value, theirs, and who it is.

    A setting that one of two does not name is none of theirs: they are of different versions.
    """
    return [
        (name, value, theirs[name], who)
        for who, theirs in others
        for name, value in mine.items()
        if name in theirs and theirs[name] != value
    ]


class Roster:
    """The roster with this server on it, from `start` to `close`."""

    def __init__(
        self, redis: Connection, swallowed: Counts, *, name: str, about: About, prefix: str = PREFIX
    ) -> None:
        self.name = name
        self.about = about
        self._redis = redis
        self._swallowed = swallowed
        self._prefix = prefix
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Enter this server. Raises as `refuse_disagreement`, and is not on the roster then.

        It is entered before it looks at others: of two that start at once one sees the other.
        """
        await self._enter()
        try:
            await refuse_disagreement(
                self._redis, self.about.must, prefix=self._prefix, own=self.name
            )
        except BaseException:
            await self._leave()
            raise
        self._task = asyncio.create_task(self._keep(), name="peers:roster")

    async def close(self) -> None:
        if self._task is not None:
            await end(self._task)
            self._task = None
        await self._leave()

    def says(self, should: Mapping[str, str]) -> None:
        """Say other settings of this server from now on."""
        self.about = replace(self.about, should=should)
        self._changed.set()

    async def servers(self) -> list[Server]:
        """Return the servers that hold a lease, by name. Raises `StoreError`."""
        return await live_servers(self._redis, self._prefix)

    async def use(self, indexes: Sequence[str]) -> None:
        """Say which indexes this server uses; the others can read it now. Raises `StoreError`."""
        self.about = replace(self.about, indexes=list(indexes))
        await self._enter()

    async def others_use(self, index: str) -> bool:
        """Return whether another live server uses an index, or does not say. Raises `StoreError`.

        Of servers that first `use` another one and then ask, at least the last gets False.
        """
        return any(
            one.about is None or one.about.indexes is None or index in one.about.indexes
            for one in await self.servers()
            if one.name != self.name
        )

    async def _enter(self) -> None:
        key, said = f"{self._prefix}server:{self.name}", json.dumps(asdict(self.about))
        await command(self._redis, "SET", key, said, "PX", round(_LIFE_S * 1_000))

    async def _leave(self) -> None:
        try:
            await command(self._redis, "DEL", f"{self._prefix}server:{self.name}")
        except StoreError:
            self._swallowed("peers")  # it goes by itself

    async def _keep(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._changed.wait()
            self._changed.clear()
            try:
                with one_round():
                    await self._enter()
            except StoreError:
                self._swallowed("peers")
