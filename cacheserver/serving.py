"""The process that serves: its address first, then its store, and beside that the application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from cacheserver.api.server import address
from cacheserver.config.settings import Settings
from cacheserver.embedded import build as embedded
from cacheserver.pricing import price_file
from cacheserver.workers import snapshots


async def serve(settings: Settings, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then let streams end. `announce` gets lines for the user.

    Raises `SettingsError` for what must be changed, `StoreError` where Redis is away. To be run in
    the main thread: signals and the store's parent-death signal belong to it.
    """
    if settings.workers > 1:
        from cacheserver.workers.supervisor import supervise

        await supervise(settings, announce=announce)
        return
    with address.bound(settings.host, settings.port) as listener:
        price_file.read_price_file(settings)  # it is refused before anything is started
        # The store loads its data in a process of its own while this one imports.
        importing = asyncio.create_task(asyncio.to_thread(_application), name="app:import")
        async with embedded.build(settings) as store:
            snapshots.drop_those_beyond(settings.data_dir, 1)
            run = await importing
            await run(settings, store, listener, announce=announce)


def _application() -> Callable[..., Awaitable[None]]:
    from cacheserver.app import run

    return run
