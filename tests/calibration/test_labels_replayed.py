"""What was learned, when answers are lost and stores killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cacheserver.calibration.labels import Labels
from cacheserver.core.errors import StoreError
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.storage.connection import Connection, connect
from tests.redis_servers import losing_replies


async def numbers(labels: Labels, scope: str, tenant: str = "acme") -> list[int]:
    return [label["n"] for _, label in await labels.window(tenant, scope)]


@asynccontextmanager
async def losing_answers(url: str, path: Path) -> AsyncIterator[Connection]:
    """A client whose connection ends after each second script that ran, before its answer."""
    count = itertools.count()

    def lost(words: bytes, reply: bytes) -> bool:
        return b"EVALSHA" in words and not reply.startswith(b"-") and next(count) % 2 == 0

    async with losing_replies(url, path, lost) as proxy:
        client = connect(proxy)
        yield client
        await client.aclose()


async def test_what_is_asked_again_after_its_answer_was_lost_happens_once(
    url: str, prefix: str, tmp_path: Path
) -> None:
    async with losing_answers(url, tmp_path / "proxy.sock") as client:
        labels = Labels(client, prefix=prefix)
        for n in range(3):
            with pytest.raises(StoreError):
                await labels.add("acme", "s", {"n": n}, once=f"d{n}")
            await labels.add("acme", "s", {"n": n}, once=f"d{n}")
            with pytest.raises(StoreError):
                await labels.adjust("acme", "g", wrong=1, right=2, life_s=60, once=f"d{n}")
            assert await labels.adjust("acme", "g", wrong=1, right=2, life_s=60, once=f"d{n}")
        assert await numbers(labels, "s") == [0, 1, 2]
        assert (await labels.past("acme", "q", [("e", "g")]))["e"].group == (3, 6)
        with pytest.raises(StoreError):
            await labels.save_state("acme", "s", b"one", version=0)
        assert (await labels.state("acme", "s"))[0] == b"one"
        assert not await labels.save_state("acme", "s", b"one", version=0)


async def test_a_store_that_is_killed_comes_back_with_all_it_acknowledged(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    client = connect(await store.start())
    labels, enough = Labels(client), asyncio.Event()
    acknowledged: list[str] = []
    saved = 0

    async def learn() -> None:
        nonlocal saved
        while True:
            acknowledged.append(await labels.add("acme", "s", {"n": len(acknowledged)}))
            _, version = await labels.state("acme", "s")
            text = str(saved + 1).encode()
            assert await labels.save_state("acme", "s", text, version=version)
            saved += 1
            if saved == 100:
                enough.set()

    learning = asyncio.create_task(learn())
    await enough.wait()
    assert store.pid is not None
    os.kill(store.pid, signal.SIGKILL)
    with pytest.raises(StoreError):
        await learning
    await store.stop()
    await store.start()
    ids = [label_id for label_id, _ in await labels.window("acme", "s")]
    assert ids[: len(acknowledged)] == acknowledged
    state, _ = await labels.state("acme", "s")
    assert state is not None
    assert saved <= int(state) <= saved + 1  # one whose acknowledgement was lost
    await client.aclose()
    await store.stop()
