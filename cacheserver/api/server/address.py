"""The address of a server, taken before anything is started."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from cacheserver.core.errors import SettingsError


@contextlib.contextmanager
def bound(host: str, port: int, *, shared: bool = False) -> Iterator[socket.socket]:
    """Yield a socket on an address. Raises `SettingsError` if a server listens there.

    `shared`: the socket listens to nobody; it holds the address for the workers, each of which
    binds its own (`beside`), and the kernel spreads connections over them.
    """
    with contextlib.ExitStack() as stack:
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )[0]
            listener = stack.enter_context(_bind(family, kind, protocol, place))
            if shared:
                # Another server's port would be shared with it in silence: the first bind, which
                # shares nothing, has seen that it is free.
                place = listener.getsockname()
                listener.close()
                listener = stack.enter_context(_bind(family, kind, protocol, place, shared=True))
        except OSError as error:
            raise _refused((host, port), error) from error
        yield listener


def beside(held: socket.socket) -> socket.socket:
    """Return another socket on the address of a shared one.

    Raises `SettingsError` if a server that shares nothing has begun to listen there.
    """
    place = held.getsockname()
    try:
        return _bind(held.family, held.type, held.proto, place, shared=True)
    except OSError as error:
        raise _refused(place, error) from error


def listen(listener: socket.socket) -> None:
    """Listen on an address of one's own. Raises `SettingsError` if another listens there by now.

    Two that start together both bind it: until one of them listens, nobody has it.
    """
    try:
        listener.listen()
    except OSError as error:
        raise _refused(listener.getsockname(), error) from error


def listen_first(listener: socket.socket) -> None:
    """Listen on the first of the sockets `beside` each other, as `listen`; the others may follow.

    While it shares nothing the kernel refuses it beside any that listens, also one that shares.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    listen(listener)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _refused(place: Sequence[Any], error: OSError) -> SettingsError:
    host, port = place[:2]
    return SettingsError(
        f"`CACHESERVER_HOST`, `CACHESERVER_PORT`: {host}:{port}: {error.strerror or error}"
    )


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
