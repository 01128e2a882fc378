"""The store's append-only file, rewritten without what was erased."""

from __future__ import annotations

import asyncio
from typing import Final, Literal, TypeAlias

from cacheserver.core.errors import StoreError
from cacheserver.storage.connection import Connection, command

_REWRITE_S: Final = 20.0  # waited: a gigabyte takes some ten seconds

File: TypeAlias = Literal["rewritten", "pending", "not verified"]


async def rewrite_file(redis: Connection) -> File:
    """Rewrite the file, and wait for it up to a limit. Raises `StoreError`."""
    try:
        async with asyncio.timeout(_REWRITE_S):
            while True:
                try:
                    await command(redis, "BGREWRITEAOF")
                    break
                except StoreError:  # an earlier rewrite is still running
                    await asyncio.sleep(0.1)
            while True:
                info = await command(redis, "INFO", "persistence")
                busy = info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"]
                if not busy:
                    good = info["aof_last_bgrewrite_status"] == "ok"
                    return "rewritten" if good else "pending"
                await asyncio.sleep(0.05)
    except TimeoutError:
        return "pending"
