"""How long the event loop is held up: what another caller would have waited, at most."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

_EVERY_S = 0.005
_WORK_S = 0.14  # CPU seconds `_work` takes on the quiet machine the bounds were measured on


def within(bound_s: float) -> float:
    """Scale a bound in CPU seconds to what this machine does at this moment, never below it.

    A neighbour on the same memory or the same core makes the same work take more CPU seconds too.
    """
    return bound_s * max(1.0, _work() / _WORK_S)


def _work() -> float:
    """Encode, copy and scan thirty megabytes; how many CPU seconds that took."""
    began = time.thread_time()
    text = "a" * 30_000_000
    text.encode().decode().find("b")
    json.loads(json.dumps(text))
    return time.thread_time() - began


@dataclass
class Lag:
    """The longest single hold-up, in CPU seconds of the loop's own thread.

    CPU time, not wall time: a machine that is busy with other things holds up nothing of ours.
    """

    longest_s: float = 0.0


@asynccontextmanager
async def lag() -> AsyncIterator[Lag]:
    """Watch the running loop. What the tests have allocated so far is not collected from now on."""
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
