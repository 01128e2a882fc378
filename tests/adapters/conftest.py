"""A server beside the test, in a thread with its own loop: LangChain's suites are synchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.house import House

WRITER = "shop"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str, str]]:
    """A running server, a key of `WRITER` that may store answers, and one that may only ask."""
    ready: Future[tuple[House, str, str]] = Future()
    stop: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve(folder: Path) -> None:
        done, loop = asyncio.Event(), asyncio.get_running_loop()
        async with House.open(folder, similarity=0.9) as house:
            _, writer = await house.parts.tenants.create_key(WRITER, role="write")
            stop.set_result((loop, done))
            ready.set_result((house, writer, await house.key(WRITER)))
            await done.wait()

    thread = threading.Thread(
        target=lambda: asyncio.run(serve(tmp_path_factory.mktemp("house"))), daemon=True
    )
    thread.start()
    try:
        yield ready.result(timeout=60)
    finally:
        loop, done = stop.result(timeout=60)
        loop.call_soon_threadsafe(done.set)
        thread.join(timeout=60)
