"""`/admin/v1/live`: what this server counts, as server-sent events."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from cacheserver.api.state import state_of
from cacheserver.core.errors import Busy
from cacheserver.observability.live_feed import LISTENERS, LiveFeed

router = APIRouter(prefix="/admin/v1", tags=["admin"])


class _LiveResponse(StreamingResponse):
    """Stream of a feed, which counts it as a listener until it ends."""

    def __init__(self, feed: LiveFeed, stopping: asyncio.Event) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(feed.events(stopping), media_type="text/event-stream", headers=headers)
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._feed.listener():
            await super().__call__(scope, receive, send)


@router.get("/live", summary="Requests, money and latency of this server as they come")
async def live(request: Request) -> Response:
    """Stream an event `live` every two seconds, as server-sent events: requests by outcome, cost,
    saving and latency since the event before (`now`) and since the stream began (`total`).

    It ends when the server stops. Twenty may listen; the next one is a 503.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    if state.live.full:
        raise Busy(f"{LISTENERS} pages listen already; close one, or ask again later")
    stopping = request.scope["state"].get("stopping") or asyncio.Event()
    return _LiveResponse(state.live, stopping)
