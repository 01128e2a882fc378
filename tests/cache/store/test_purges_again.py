"""Purges that are made again after a failover: what was stored after them stays."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cacheserver.cache.store.entries import Entries
from cacheserver.storage.connection import Connection, command
from cacheserver.storage.recent_changes import Redo
from tests.cache.entries import entry

Server = Callable[[float], Entries]  # by how many seconds its clock is behind


@pytest.fixture
def notes(redis: Connection, monkeypatch: pytest.MonkeyPatch) -> list[Redo]:
    found: list[Redo] = []
    monkeypatch.setattr(redis.recent, "note", lambda redo, *of: found.append(redo))
    return found


@pytest.fixture
def server(redis: Connection, prefix: str) -> Server:
    return lambda behind_s: Entries(redis, prefix=prefix, clock=lambda: time.time() - behind_s)


async def stored(store: Entries, fingerprint: str) -> None:
    one = entry(fingerprint=fingerprint, tags=("t",))
    assert await store.put(one, keep_s=0, vector=None, asked_at=time.time() + 0.001)


@pytest.mark.parametrize("behind_s", [0.0, 5.0])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_an_answer_that_was_stored_after_two_purges_stays(
    server: Server, notes: list[Redo], order: tuple[int, ...], behind_s: float
) -> None:
    await stored(server(0), "f1")
    assert await server(0).purge_tag("acme", "t") == 1
    await stored(server(0), "f2")
    assert await server(behind_s).purge_tag("acme", "t") == 1
    await stored(server(0), "f3")
    for at in order:
        await notes[at]()
    assert await server(0).get("f3") is not None


@pytest.mark.parametrize("behind_s", [0.0, 5.0])
@pytest.mark.parametrize("lost", [1, 2])
async def test_a_purge_that_a_failover_lost_is_made_again(
    server: Server, redis: Connection, prefix: str, notes: list[Redo], behind_s: float, lost: int
) -> None:
    await server(0).purge_tag("acme", "t")
    mark = next(
        key for key in await command(redis, "KEYS", f"{prefix}p:*") if not key.endswith(b"*")
    )
    first = await command(redis, "GET", mark)
    await server(behind_s).purge_tag("acme", "t")
    if lost == 1:
        await command(redis, "SET", mark, first)
    else:
        await command(redis, "DEL", mark)
    await stored(server(0), "f1")  # as one that a replica has back
    for redo in notes:
        await redo()
    assert await server(0).get("f1") is None


async def test_a_purge_is_made_again_where_a_newer_one_was_only_begun(
    server: Server, redis: Connection, prefix: str, notes: list[Redo]
) -> None:
    await server(0).purge_tag("acme", "t")
    (mark,) = [one for one in await command(redis, "KEYS", f"{prefix}p:*") if one[-1:] != b"*"]
    await stored(server(0), "f1")  # as one that a replica has back
    newer = time.time() + 1
    await command(redis, "SET", mark, repr(newer))  # as its first step leaves it; its server died
    await notes[0]()
    assert await server(0).get("f1") is None
    assert float(await command(redis, "GET", mark)) == newer
