"""How long the event loop is held up: what another caller would have waited, at most."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

_EVERY_S = 0.005


@dataclass
class Lag:
    """The longest single hold-up, in CPU seconds of the loop's own thread.

    CPU time, not wall time: a machine that is busy with other things holds up nothing of ours.
    """

    longest_s: float = 0.0


@asynccontextmanager
async def lag() -> AsyncIterator[Lag]:
    """Watch the running loop. What the tests have allocated so far is not collected meanwhile."""
    seen = Lag()
    loop = asyncio.get_running_loop()
    last = time.thread_time()
    handle: asyncio.TimerHandle | None = None

    def look() -> None:
        nonlocal last, handle
        now = time.thread_time()
        seen.longest_s = max(seen.longest_s, now - last)
        last = now
        handle = loop.call_later(_EVERY_S, look)

    gc.collect()
    gc.freeze()
    last = time.thread_time()
    look()
    try:
        yield seen
        await asyncio.sleep(0)
        look()  # what was held up to the end
    finally:
        assert handle is not None
        handle.cancel()
        gc.unfreeze()
