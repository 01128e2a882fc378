from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic

from cacheserver.simulated import Simulated, SimulatedSettings, serve_simulated

MODEL = "claude-haiku-5-5"
HEADERS = {"x-api-key": "one", "anthropic-version": "2026-10-21"}


@dataclass
class Clock:
    """Unix seconds, moved by hand."""

    now: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Claude:
    """A simulated Claude on a real socket, its clock, and clients of it."""

    simulated: Simulated
    clock: Clock
    url: str
    stack: AsyncExitStack
    http: httpx2.AsyncClient
    _sdks: dict[str, AsyncAnthropic] = field(default_factory=dict)

    def sdk(self, key: str = "one") -> AsyncAnthropic:
        if key not in self._sdks:
            made = AsyncAnthropic(api_key=key, base_url=self.url, max_retries=0)
            self._sdks[key] = made
            self.stack.push_async_callback(made.close)
        return self._sdks[key]

    async def ask(self, text: str = "Capital of France?", **given: Any) -> dict[str, Any]:
        """Post a request and return the message."""
        response = await self.post(text, **given)
        assert response.status_code == 200, response.text
        message: dict[str, Any] = response.json()
        return message

    async def post(self, text: str = "Capital of France?", **given: Any) -> httpx2.Response:
        headers = {**HEADERS, **given.pop("headers", {})}
        body = {
            "model": MODEL,
            "max_tokens": 1_000,
            "messages": [{"role": "user", "content": text}],
            **given,
        }
        return await self.http.post("/v1/messages", json=body, headers=headers)


class Start:
    """Starts simulated Claudes; the last context closes them."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def __call__(self, **settings: Any) -> Claude:
        clock = Clock()
        simulated = Simulated(SimulatedSettings(**{"clock": clock, **settings}))
        url = await self._stack.enter_async_context(serve_simulated(simulated))
        http = await self._stack.enter_async_context(httpx2.AsyncClient(base_url=url))
        return Claude(simulated, clock, url, self._stack, http)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:
        yield Start(stack)


@pytest.fixture
async def claude(start: Start) -> Claude:
    return await start()
