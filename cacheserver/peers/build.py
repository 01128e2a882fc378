"""Joins the servers on a store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from cacheserver.peers.change_stream import Counts
from cacheserver.peers.peers import Peers, uncounted
from cacheserver.peers.roster import About, Roster, refuse_disagreement
from cacheserver.peers.takeover import Takeover
from cacheserver.peers.work_lease import WorkLeases
from cacheserver.storage.build import SealerBuilder, Store
from cacheserver.storage.connection import Connection
from cacheserver.storage.sealer import Sealer


@asynccontextmanager
async def build(store: Store, swallowed: Counts) -> AsyncIterator[Peers]:
    """Yield this server among its peers; it leaves them at the end. Raises `StoreError`."""
    peers = Peers(store.redis, swallowed, prefix=store.prefix)
    try:
        await peers.start()
        yield peers
    finally:
        await peers.close()


async def agree(redis: Connection, *, prefix: str) -> None:
    """Return once the servers trust the store's primary, for a command. Raises `StoreError`.

    Where none has since a replica took over, it joins them until each has made its removals again.
    A command would else change what it has read of before them, and so undo them.
    """
    if await Takeover(redis, prefix=prefix, name="").is_new():
        peers = Peers(redis, uncounted, prefix=prefix)
        try:
            await peers.start()
        finally:
            await peers.close()


@asynccontextmanager
async def work(store: Store, peers: Peers, swallowed: Counts) -> AsyncIterator[WorkLeases]:
    """Yield the leases of background work; they are given back at the end."""
    leases = WorkLeases(store.redis, swallowed, server=peers.name, prefix=store.prefix)
    leases.start()
    try:
        yield leases
    finally:
        await leases.close()


def agreeing(build_sealer: SealerBuilder, must: Mapping[str, str], prefix: str) -> SealerBuilder:
    """Return a `build_sealer` that first sees that live servers agree: nothing was written yet."""

    async def build_agreed(redis: Connection) -> Sealer:
        await refuse_disagreement(redis, must, prefix=prefix)
        return await build_sealer(redis)

    return build_agreed


@asynccontextmanager
async def roster(
    store: Store, peers: Peers, about: About, swallowed: Counts
) -> AsyncIterator[Roster]:
    """Yield the roster with this server on it. Raises `SettingsError` and `StoreError`."""
    entered = Roster(store.redis, swallowed, name=peers.name, about=about, prefix=store.prefix)
    await entered.start()
    try:
        yield entered
    finally:
        await entered.close()
