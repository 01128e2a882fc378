"""Past changes in the stream: they hold digests, from which what was erased could be guessed."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from cacheserver.core.errors import StoreError
from cacheserver.peers import scripts
from cacheserver.peers.peers import Told
from cacheserver.storage.connection import Connection, command, run_script

_PAUSE_S: Final = 0.02
_PATIENCE_S: Final = 5.0  # each server notes what it has applied four times a second


async def forget_changes(redis: Connection, told: Told, *, prefix: str) -> None:
    """Drop the changes so far, once every live server has applied them. Raises `StoreError`."""
    await told("erased")
    stream = f"{prefix}changes"
    last = await command(redis, "XREVRANGE", stream, "+", "-", "COUNT", 1)
    if not last:
        return
    id, lagging = last[0][0], redis.register_script(scripts.LAGGING)
    patience = time.monotonic() + _PATIENCE_S
    while int(await run_script(lagging, prefix, "", id)):  # this server too: "" is none
        if time.monotonic() > patience:
            raise StoreError("a server has not applied the changes before an erasure yet")
        await asyncio.sleep(_PAUSE_S)
    await command(redis, "XTRIM", stream, "MINID", id)
