"""Middleware that labels every answer of a simulated Claude."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Simulated:
    """Adds `x-upstream: simulated` to every response, errors and pages included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-upstream"] = "simulated"
            await send(message)

        await self._app(scope, receive, labelled if scope["type"] == "http" else send)
