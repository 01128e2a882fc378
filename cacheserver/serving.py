"""The process that serves: its address first, then its store, and beside that the application."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

from cacheserver.config.settings import Settings
from cacheserver.core.errors import SettingsError
from cacheserver.embedded import build as embedded
from cacheserver.pricing import price_file


async def serve(settings: Settings, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then let streams end. `announce` gets lines for the user.

    Raises `SettingsError` for what must be changed, `StoreError` where Redis is away. To be run in
    the main thread: signals and the store's parent-death signal belong to it.
    """
    with _bound(settings) as listener:
        price_file.read_price_file(settings)  # it is refused before anything is started
        # The store loads its data in a process of its own while this one imports.
        importing = asyncio.create_task(asyncio.to_thread(_application), name="app:import")
        async with embedded.build(settings) as store:
            run = await importing
            await run(settings, store, listener, announce=announce)


def _application() -> Callable[..., Awaitable[None]]:
    from cacheserver.app import run

    return run


@contextlib.contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """A socket on the address, before anything is started. It says it is TCP.

    asyncio turns Nagle's algorithm off only for a socket that does; else each answer waits 40 ms
    for the delayed acknowledgement of its own headers.
    """
    with contextlib.ExitStack() as stack:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                settings.host, settings.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )[0]
            listener = stack.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError as error:
            raise SettingsError(
                f"`CACHESERVER_HOST`, `CACHESERVER_PORT`: {settings.host}:{settings.port}: "
                f"{error.strerror or error}"
            ) from error
        yield listener
