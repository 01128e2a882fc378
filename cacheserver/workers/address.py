"""The address of a server, taken before anything is started."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from cacheserver.config.settings import Settings
from cacheserver.core.errors import SettingsError


@contextlib.contextmanager
def bound(settings: Settings, *, shared: bool = False) -> Iterator[socket.socket]:
    """Yield a socket on the address of the settings. Raises `SettingsError` if it is taken.

    `shared`: the socket listens to nobody; it holds the address for the workers, each of which
    binds its own (`beside`), and the kernel spreads connections over them.
    """
    with contextlib.ExitStack() as stack:
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(
                settings.host, settings.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )[0]
            listener = stack.enter_context(_bind(family, kind, protocol, place))
            if shared:
                # Another server's port would be shared with it in silence: the first bind, which
                # shares nothing, has seen that it is free.
                place = listener.getsockname()
                listener.close()
                listener = stack.enter_context(_bind(family, kind, protocol, place, shared=True))
        except OSError as error:
            raise SettingsError(
                f"`CACHESERVER_HOST`, `CACHESERVER_PORT`: {settings.host}:{settings.port}: "
                f"{error.strerror or error}"
            ) from error
        yield listener


def beside(held: socket.socket) -> socket.socket:
    """Return another socket on the address of a shared one. Raises `OSError`."""
    return _bind(held.family, held.type, held.proto, held.getsockname(), shared=True)


def _bind(
    family: int, kind: int, protocol: int, place: Any, *, shared: bool = False
) -> socket.socket:
    # It says that it is TCP: asyncio turns Nagle's algorithm off only for a socket that does; else
    # each answer waits 40 ms for the delayed acknowledgement of its own headers.
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind(place)
    except BaseException:
        found.close()
        raise
    return found
