"""A whole server for a test: real sockets, real Valkey, real index, the simulated Claude behind it.

async with House.open(tmp_path) as house: ...
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
from anthropic import Anthropic, AsyncAnthropic

from cacheserver import bootstrap
from cacheserver.api.components import Components
from cacheserver.api.server.connections import Connections
from cacheserver.api.server.limits import Limits
from cacheserver.api.server.protocol import ServerConfig
from cacheserver.api.slowdown import Slowdown
from cacheserver.app import create_app, limits_of
from cacheserver.batches.context import Intervals
from cacheserver.config.otel import OtelChoice
from cacheserver.config.settings import Settings
from cacheserver.simulated import Directives, Simulated, SimulatedSettings, serve_simulated
from cacheserver.simulated.serve import GuestServer, listen
from tests.models import model_dir

ADMIN_KEY = "an-admin-key-for-tests"
MODEL = "claude-haiku-5-5"


Answering = Callable[[Mapping[str, Any]], Directives | None]


class Clock:
    """Unix time, moved by hand: answers grow old without anybody waiting."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s

    def to_noon(self) -> None:
        """Go on to the next noon (UTC), for what must not end on another day."""
        self.ahead_s += -(self() - 43_200) % 86_400

    def to_mid_month(self) -> None:
        """Go on to a noon (UTC) in the middle of a month, for what must not end in another."""
        self.to_noon()
        while not 10 <= time.gmtime(self()).tm_mday <= 20:
            self.ahead_s += 86_400


@asynccontextmanager
async def serving(app: Any, connections: Connections | None = None) -> AsyncIterator[str]:
    """Serve an ASGI app on a free port. It listens before it starts, so nobody has to wait."""
    with listen("127.0.0.1", 0) as listener:
        connections = Connections(Limits()) if connections is None else connections
        # A request that waits for who has left would have a test wait for ever.
        server = GuestServer(ServerConfig(app, connections, timeout_graceful_shutdown=10))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.stop()
            await task


@dataclass
class House:
    """The server and what stands around it."""

    url: str
    upstream: Simulated
    parts: Components
    clock: Clock
    http: httpx2.AsyncClient
    stack: AsyncExitStack  # closes the clients a test makes

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        data_dir: Path,
        *,
        claude: Answering | None = None,
        otel: OtelChoice | None = None,
        pace: Intervals | None = None,
        bounds: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        slowdown: Slowdown | None = None,
        **settings: Any,
    ) -> AsyncIterator[House]:
        """`bounds`: fields of `Limits` that a test cannot wait for."""
        async with AsyncExitStack() as stack:
            simulated = Simulated(SimulatedSettings(direct=claude))
            upstream_url = await stack.enter_async_context(serve_simulated(simulated))
            clock = clock or Clock()
            chosen = Settings(
                **{
                    "data_dir": data_dir,
                    "model_dir": model_dir(),
                    "upstream": upstream_url,
                    "anthropic_api_key": "sk-ant-the-servers-own",
                    "admin_key": ADMIN_KEY,
                    "similarity": 0.95,
                    "store_wait_s": 5,  # a machine that runs many tests may take its time
                    **settings,
                }
            )
            parts = await stack.enter_async_context(
                bootstrap.build(chosen, clock=clock, pace=pace, otel=otel)
            )
            app = create_app(parts, chosen, slowdown=slowdown)
            limits = replace(limits_of(chosen), **(bounds or {}))
            connections = Connections(limits, parts.metrics.connection_closed)
            parts.metrics.gauges.watch_connections(lambda: len(connections))
            url = await stack.enter_async_context(serving(app, connections))
            http = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, timeout=30))
            await parts.entries.restored.wait()
            yield cls(url, simulated, parts, clock, http, stack)

    def sdk(self, key: str = "any", **options: Any) -> AsyncAnthropic:
        client = AsyncAnthropic(api_key=key, base_url=self.url, max_retries=0, **options)
        self.stack.push_async_callback(client.close)
        return client

    def sync_sdk(self, key: str = "any", **options: Any) -> Anthropic:
        client = Anthropic(api_key=key, base_url=self.url, max_retries=0, **options)
        self.stack.callback(client.close)
        return client

    @property
    def asked(self) -> list[Any]:
        """The Messages requests that reached Claude."""
        return [r for r in self.upstream.requests if r.path == "/v1/messages"]

    async def ask(
        self, text: str = "What is the capital of France?", /, *, key: str = "any", **given: Any
    ) -> httpx2.Response:
        """Post a Messages request; `headers` go with it, the rest are fields of its body."""
        headers = {"x-api-key": key, **given.pop("headers", {})}
        body = {
            "model": MODEL,
            "max_tokens": 100,
            "messages": [{"role": "user", "content": text}],
            **given,
        }
        return await self.http.post("/v1/messages", json=body, headers=headers)

    async def key(self, tenant: str) -> str:
        _, plain = await self.parts.tenants.create_key(tenant)
        return plain


def came_from(response: httpx2.Response) -> tuple[str, str]:
    assert response.status_code == 200, response.text
    return response.headers["x-cache"], response.headers["x-cache-reason"]
