"""The channel between the parent and a worker, when one of them goes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from cacheserver.workers.channel import Channel


async def _nothing(topic: str) -> None:
    return


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_is_said_to_one_that_has_gone_is_no_failure(
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    async def say() -> None:
        ours, its = socket.socketpair()
        channel = Channel(ours, answer=_nothing, heard=lambda topic, value: None)
        await channel.open()
        its.close()
        for _ in range(3):  # the first finds out, and the loop closes the connection
            channel.say("ready")
            await asyncio.sleep(0.01)
        await channel.finish()

    run(say())
