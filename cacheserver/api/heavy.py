"""Work on large bodies, off the event loop and one at a time.

Rule: no call into C that keeps the interpreter's lock may be long, for it stops the loop from any
thread. So bodies are bounded in their number of values (`body.MAX_VALUES`), not only in bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Reading so much takes 2 ms; a thread costs 0.1.
AT_ONCE = 256 * 1024


class HeavyWork:
    """Runner of work on bodies: small work at once, large work in one thread."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)

    async def do(self, size: int, work: Callable[[], T]) -> T:
        """Return what `work` returns; `size` is in bytes."""
        if size <= AT_ONCE:
            return work()
        async with self._turn:
            return await asyncio.to_thread(work)
