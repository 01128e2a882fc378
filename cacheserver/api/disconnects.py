"""Detection of callers who disconnect while an answer is being made.

A server reports a disconnect only to code that waits for it. Without it, a call to Claude whose
answer nobody else may have would continue for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")

# Stored answers have left by then, also those of a busy server (64 clients on one core wait 30 ms),
# and pay for a timer, not for a task.
_PATIENCE_S = 0.25


async def while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` does. Cancels it and raises `ClientDisconnect` where the caller leaves.

    The body must have been read: what comes after it is not.
    """
    waiting = asyncio.current_task()
    assert waiting is not None  # a request is answered in a task
    watch: asyncio.Task[None] | None = None
    gone = False

    async def listen() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        waiting.cancel()

    def start() -> None:
        nonlocal watch
        watch = asyncio.create_task(listen(), name="api:presence")

    timer = asyncio.get_running_loop().call_later(_PATIENCE_S, start)
    try:
        return await work
    except asyncio.CancelledError:
        if gone and waiting.uncancel() == 0:  # else somebody stops the server, too
            raise ClientDisconnect from None
        raise
    finally:
        timer.cancel()
        if watch is not None:
            watch.cancel()
