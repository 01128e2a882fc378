"""A simulated Claude on a real socket."""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from cacheserver.core.errors import SettingsError
from cacheserver.simulated.app import Simulated
from cacheserver.simulated.settings import SimulatedSettings

_DRAIN_S = 1  # how long an answer under way may keep the server from stopping


@asynccontextmanager
async def serve_simulated(
    claude: Simulated | SimulatedSettings | None = None, *, port: int = 0
) -> AsyncIterator[str]:
    """Serve a simulated Claude on 127.0.0.1 and give its base URL; stop it at the end.

    Port 0 is a free one. Given settings or nothing, a Claude of its own is made; given a
    `Simulated`, that one is served. Signals are left to whoever runs the process.
    """
    if not isinstance(claude, Simulated):
        claude = Simulated(claude or SimulatedSettings())
    with listen("127.0.0.1", port) as listener:
        server = GuestServer(_config(claude))
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="simulated:serve")
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.stop()
            await serving


def main(argv: Sequence[str], *, announce: Callable[[str], None]) -> int:
    """Serve until interrupted, as `cacheserver simulate-claude` does; returns the exit status.

    `announce` is called with a line for the user. Raises `SettingsError` for a port in use.
    """
    parser = argparse.ArgumentParser(
        prog="cacheserver simulate-claude", description="Run a simulated Claude, without a key."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--port", type=int, default=8081, help="port to listen on; 0 picks a free one"
    )
    parser.add_argument(
        "--ttft-ms", type=float, default=0, help="milliseconds until the first token"
    )
    parser.add_argument(
        "--tokens-per-s", type=float, help="speed of an answer (default: all at once)"
    )
    parser.add_argument("--batch-s", type=float, default=10, help="seconds until a batch has ended")
    args = parser.parse_args(argv)
    settings = SimulatedSettings(
        ttft_s=args.ttft_ms / 1_000, tokens_per_s=args.tokens_per_s, batch_s=args.batch_s
    )
    try:
        listener = listen(args.host, args.port)
    except OSError as error:
        raise SettingsError(f"`--port` {args.port}: {error.strerror}") from None
    with listener:
        host, port = listener.getsockname()[:2]
        announce(f"simulated Claude on http://{host}:{port} (no answer here is Claude's)")
        uvicorn.Server(_config(Simulated(settings))).run(sockets=[listener])
    return 0


class GuestServer(uvicorn.Server):
    """A server in somebody else's process: it leaves the signals alone and stops at once.

    uvicorn asks every 0.1 s whether to stop, and waits as long again for connections to close:
    a test suite that starts a server for each test would mostly wait.
    """

    _ticks: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Have `serve` return once the answers under way are sent."""
        self.should_exit = True
        if self._ticks is not None:
            self._ticks.cancel()

    async def main_loop(self) -> None:
        self._ticks = asyncio.create_task(super().main_loop(), name="simulated:ticks")
        await asyncio.wait({self._ticks})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0)  # a connection that is idle is closed in the loop's next turn
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket that says it is TCP.

    asyncio turns Nagle's algorithm off only for a socket that does, and `socket.create_server`
    makes one that does not: each answer then waits 40 ms for the delayed acknowledgement of its
    own headers.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _config(simulated: Simulated) -> uvicorn.Config:
    return uvicorn.Config(
        simulated.app,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_DRAIN_S,
        timeout_keep_alive=75,  # as an edge would: clients put idle connections away before
    )
