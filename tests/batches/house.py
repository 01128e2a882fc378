"""A whole server that takes batches and jobs, and ways to hold Claude at any step of theirs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cacheserver import bootstrap
from cacheserver.app import create_app
from cacheserver.batches.context import Intervals
from cacheserver.batches.scheduler import BatchScheduler
from cacheserver.claude.circuit_breaker import CircuitBreaker
from cacheserver.config.settings import Settings
from cacheserver.simulated import Simulated, SimulatedSettings
from tests.house import ADMIN_KEY, MODEL, Clock, House, serving
from tests.models import model_dir

# Nobody waits for real minutes: what is minutes in earnest is a few hundredths of a second here.
QUICK = Intervals(
    tick_s=0.02,
    lease_s=15.0,  # as in earnest: nobody takes over because a busy machine was late
    poll_first_s=0.02,
    poll_longest_s=0.1,
    settle_s=0.5,
    hook_waits_s=(0.02, 0.02),
)


def shut(breaker: CircuitBreaker) -> None:
    """Open the circuit for a year, for every tenant of the tests."""
    now = time.monotonic() + 365 * 86_400
    for tenant in ("default", "x"):
        for _ in range(10):
            breaker.leave(tenant, now, good=False, probe=False)


@dataclass
class Gatekeeper:
    """Claude's door: holds a request before or after it has done its work, or loses its answer."""

    app: ASGIApp
    hold: Callable[[str, str], bool] = field(default=lambda method, path: False)
    when: str = "before"  # "before", "after", "lost": done, and the answer is cut off
    limits: dict[str, str] = field(default_factory=dict)  # headers on every answer
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    gone: bool = False  # who was held is not there any more

    def hold_at(self, hold: Callable[[str, str], bool], when: str) -> None:
        self.hold, self.when, self.gone = hold, when, False
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    def release(self, *, gone: bool = False) -> None:
        """Let through who is held, and all who come after; or forget them, where they are gone."""
        self.hold, self.gone = (lambda method, path: False), gone
        self.go.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def said(message: Message) -> None:
            if message["type"] == "http.response.start" and self.limits:
                more = [(k.encode(), v.encode()) for k, v in self.limits.items()]
                kept = [pair for pair in message["headers"] if pair[0].decode() not in self.limits]
                message = {**message, "headers": [*kept, *more]}
            await send(message)

        held = self.hold(scope["method"], scope["path"])
        go = self.go
        if held and self.when == "before":
            self.reached.set()
            await go.wait()
            if self.gone:
                raise ConnectionResetError  # the request never arrived
        if not held or self.when == "before":
            await self.app(scope, receive, said)
            return
        kept: list[Message] = []

        async def keep(message: Message) -> None:
            kept.append(message)

        await self.app(scope, receive, keep)
        self.reached.set()
        if self.when == "lost":
            self.when = "before"
            self.hold = lambda method, path: False
            raise ConnectionResetError  # the server closes the connection without a word
        await go.wait()
        if self.gone:
            raise ConnectionResetError
        for message in kept:
            await send(message)


@dataclass
class BatchHouse(House):
    batching: BatchScheduler
    door: Gatekeeper

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        data_dir: Path,
        *,
        batch_s: float = 0.0,
        pace: Intervals = QUICK,
        resolve: Any = None,
        claude: Any = None,
        **settings: Any,
    ) -> AsyncIterator[BatchHouse]:
        async with AsyncExitStack() as stack:
            clock = Clock()
            simulated = Simulated(SimulatedSettings(batch_s=batch_s, clock=clock, direct=claude))
            door = Gatekeeper(simulated.app)
            upstream_url = await stack.enter_async_context(serving(door))
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
            options = {} if resolve is None else {"resolve": resolve}
            parts = await stack.enter_async_context(
                bootstrap.build(chosen, clock=clock, pace=pace, **options)
            )
            app = create_app(parts, chosen)
            url = await stack.enter_async_context(serving(app))
            http = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, timeout=30))
            await parts.entries.restored.wait()
            yield cls(url, simulated, parts, clock, http, stack, parts.batches, door)

    async def send_at_once(self, *tenants: str) -> None:
        """Have a tenant's jobs not wait a minute for others to share a batch."""
        for tenant in tenants:
            await self.parts.tenants.change(tenant, {"batching": {"flush_age_s": 1}})

    @property
    def sent(self) -> list[list[dict[str, Any]]]:
        """The requests of each batch that reached Claude."""
        import json

        return [
            json.loads(r.raw)["requests"]
            for r in self.upstream.requests
            if r.path == "/v1/messages/batches" and r.method == "POST"
        ]

    async def ended(self, id: str, *, key: str = "any") -> dict[str, Any]:
        """The job, once it has ended: followed by its events."""
        import json

        path = f"/v1/jobs/{id}/events"
        async with self.http.stream("GET", path, headers={"x-api-key": key}) as response:
            assert response.status_code == 200
            last = ""
            async for line in response.aiter_lines():
                if line.startswith("data:"):
                    last = line[5:]
        found: dict[str, Any] = json.loads(last)
        assert found["type"] == "ended"
        return found

    async def job(self, text: str, *, key: str = "any", **fields: Any) -> httpx2.Response:
        asked = {"prompt": text, "model": MODEL, **fields}
        return await self.http.post("/v1/jobs", json=asked, headers={"x-api-key": key})


def item(custom_id: str, text: str = "What is the capital of France?", **given: Any) -> Any:
    params = {
        "model": MODEL,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": text}],
        **given,
    }
    return {"custom_id": custom_id, "params": params}
