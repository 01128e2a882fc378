"""Stores on a bad disk, under disk.c: `python -m tests.embedded.baddisk SCENARIO DIR`.

The last line printed is what was found, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from cacheserver.core.errors import StoreError
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.storage.connection import Connection, command, connect

BAD_DISK = os.environ.get("BAD_DISK", "")


def disk(what: str) -> Path:
    return Path(f"{BAD_DISK}.{what}")


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what is waited for is another thread's, or the disk's
        await asyncio.sleep(0.005)


async def again(client: Connection, *words: str) -> Any:
    """The reply, once the store is back."""
    while True:
        try:
            return await command(client, *words)
        except StoreError:
            await asyncio.sleep(0.01)


async def killed_while_it_syncs(store: EmbeddedStore, client: Connection) -> dict[str, Any]:
    disk("slow").touch()
    await command(client, "SET", "first", "1")
    await until(disk("waiting").exists)
    for n in range(500):
        await command(client, "SET", f"key{n}", "acknowledged")
    assert store.pid is not None
    os.kill(store.pid, signal.SIGKILL)
    disk("slow").unlink()
    await until(lambda: store.restarts == 1)
    return {"left": await again(client, "DBSIZE")}


async def failing(store: EmbeddedStore, client: Connection) -> dict[str, Any]:
    await command(client, "SET", "key", "kept")
    disk("broken").touch()
    await command(client, "SET", "key2", "kept")
    await until(lambda: store.sync.failing)
    failed, old = store.sync.failures, store.sync.unsynced_s
    disk("broken").unlink()
    await until(lambda: not store.sync.failing)  # the file was written anew
    await until(lambda: store.sync.unsynced_s < 2)
    files = sorted(path.name for path in (store._dir / "appendonlydir").iterdir())
    return {"failed": failed, "unsynced": old, "files": files}


async def slow(store: EmbeddedStore, client: Connection) -> dict[str, Any]:
    disk("slow").touch()
    await command(client, "SET", "key", "kept")
    await until(disk("waiting").exists)
    await until(lambda: store.sync.unsynced_s > 2)
    disk("slow").unlink()
    await until(lambda: store.sync.unsynced_s < 2)
    return {"failing": store.sync.failing}


async def full(store: EmbeddedStore, client: Connection) -> dict[str, Any]:
    await command(client, "SET", "before", "1")
    disk("full").touch()
    acknowledged, refused = 0, ""
    while not refused:
        try:
            await command(client, "SET", f"key{acknowledged}", "1")
            acknowledged += 1
        except StoreError as error:
            refused = str(error)
    read = await command(client, "GET", "before")
    disk("full").unlink()
    await again(client, "SET", "after", "1")
    assert store.pid is not None
    os.kill(store.pid, signal.SIGKILL)
    await until(lambda: store.restarts == 1)
    left = await again(client, "DBSIZE")
    return {
        "acknowledged": acknowledged,
        "refused": refused,
        "read": read.decode(),
        "lost": acknowledged + 2 - left,
    }


SCENARIOS: dict[str, Callable[[EmbeddedStore, Connection], Coroutine[Any, Any, dict[str, Any]]]] = {
    "killed": killed_while_it_syncs,
    "failing": failing,
    "slow": slow,
    "full": full,
}


async def main() -> None:
    store = EmbeddedStore(Path(sys.argv[2]))
    client = connect(await store.start())
    found = await SCENARIOS[sys.argv[1]](store, client)
    await client.aclose()
    await store.stop()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
