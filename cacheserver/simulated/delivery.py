"""Delivery of an answer at the configured pace, or broken by a fault."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cacheserver.simulated import events
from cacheserver.simulated.directives import Fault
from cacheserver.simulated.errors import ApiError
from cacheserver.simulated.settings import SimulatedSettings


def refuse(fault: Fault | None) -> None:
    """Raise the error a fault asks for, if it does."""
    if fault is None or fault.kind != "error":
        return
    headers: dict[str, str] = {}
    if fault.retry_after_s is not None:
        headers["retry-after"] = str(math.ceil(fault.retry_after_s))
        headers["retry-after-ms"] = str(round(fault.retry_after_s * 1_000))
    if fault.should_retry is not None:
        headers["x-should-retry"] = "true" if fault.should_retry else "false"
    raise ApiError(fault.status, "A simulated fault.", headers=headers)


class Delivery(Response):
    """One message, streamed or whole. `begun` is called when its first byte leaves."""

    def __init__(
        self,
        message: Mapping[str, Any],
        *,
        stream: bool,
        settings: SimulatedSettings,
        fault: Fault | None,
        begun: Callable[[], None],
        request_id: str,
    ) -> None:
        super().__init__(media_type="text/event-stream" if stream else "application/json")
        del self.headers["content-length"]
        if stream:
            self.headers["cache-control"] = "no-cache"
        self._message = message
        self._stream = stream
        self._settings = settings
        self._fault = fault
        self._begun = begun
        self._request_id = request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; stop early where the caller leaves."""
        gone = asyncio.create_task(_left(receive), name="simulated:left")
        try:
            slow = self._fault.delay_s if self._fault and self._fault.kind == "slow" else 0.0
            if not await _stays(gone, self._settings.ttft_s + slow):
                return
            if self._stream:
                await self._send_events(send, gone)
            else:
                await self._send_whole(send, gone)
        finally:
            gone.cancel()

    async def _send_whole(self, send: Send, gone: asyncio.Task[None]) -> None:
        fault = self._fault
        if fault and fault.kind == "hang":
            await gone
            return
        if not await _stays(gone, self._writing_s()):
            return
        body = orjson.dumps(self._message)
        self.headers["content-length"] = str(len(body))
        await self._start(send)
        if fault and fault.kind in ("cut", "broken"):
            # An answer that is never completed makes the server drop the connection.
            await send({"type": "http.response.body", "body": body[:1], "more_body": True})
            return
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _send_events(self, send: Send, gone: asyncio.Task[None]) -> None:
        fault = self._fault
        await self._start(send)
        whole_s = self._writing_s()
        for sent, event in enumerate(events.of(self._message)):
            if fault and fault.kind in ("cut", "broken", "hang") and sent >= fault.after_events:
                await self._break_off(fault, send, gone)
                return
            if not await self._wait(event.share * whole_s, send, gone):
                return
            await _piece(send, event.encoded())
        await _piece(send, b"", more=False)

    async def _break_off(self, fault: Fault, send: Send, gone: asyncio.Task[None]) -> None:
        if fault.kind == "hang":
            await gone
        elif fault.kind == "broken":
            event = events.error(fault.type, "A simulated fault.", self._request_id)
            await _piece(send, event.encoded())
            await _piece(send, b"", more=False)

    async def _wait(self, seconds: float, send: Send, gone: asyncio.Task[None]) -> bool:
        """Wait, with pings, and return whether the caller is still there."""
        while seconds > self._settings.ping_s:
            if not await _stays(gone, self._settings.ping_s):
                return False
            await _piece(send, events.Event("ping", {"type": "ping"}).encoded())
            seconds -= self._settings.ping_s
        return await _stays(gone, seconds)

    async def _start(self, send: Send) -> None:
        self._begun()
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )

    def _writing_s(self) -> float:
        rate = self._settings.tokens_per_s
        return self._message["usage"]["output_tokens"] / rate if rate else 0.0


async def _piece(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _stays(gone: asyncio.Task[None], seconds: float) -> bool:
    """Wait `seconds` and return whether the caller is still there."""
    if seconds > 0:
        await asyncio.wait({gone}, timeout=seconds)
    return not gone.done()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
