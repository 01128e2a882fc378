"""Outermost ASGI middleware: assigns request ids and answers unexpected errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cacheserver.core import request_context
from cacheserver.core.request_context import Observer, RequestContext
from cacheserver.observability.logs import place

logger = logging.getLogger(__name__)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Boundary:
    """Middleware that opens a request context for each request and notifies `observers`."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        failed: Callable[[int], None],
        respond: Callable[[Request, Exception], Response],
        observers: Sequence[Observer] = (),
    ) -> None:
        self._app = app
        self._failed = failed
        self._respond = respond
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        seen = RequestContext(
            method if method in _METHODS else "_OTHER",
            trace=request_context.trace_of(scope["headers"]),
        )
        request_context.enter(seen)
        scope = _without_second_version(scope)
        if method == "HEAD":  # of every page there is: servers leave the body out by themselves
            scope = {**scope, "method": "GET"}
        scope.setdefault("state", {})["request_id"] = seen.id
        if not self._observers:
            await self._answer(seen, scope, receive, send)
            return
        for observer in self._observers:
            observer.began(seen)
        began = time.perf_counter()
        try:
            await self._answer(seen, scope, receive, send)
        finally:
            seen.seconds = time.perf_counter() - began
            seen.route = getattr(scope.get("route"), "path", None)
            for observer in self._observers:
                observer.ended(seen)

    async def _answer(
        self, seen: RequestContext, scope: Scope, receive: Receive, send: Send
    ) -> None:
        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # Claude's own stays, where it answered: it is what Anthropic's support asks for.
                seen.id = headers.setdefault("request-id", seen.id)
                seen.status = message["status"]
                if self._observers:
                    _note(seen, headers)
            elif not message.get("more_body", False):
                seen.whole = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except ClientDisconnect:
            pass  # nobody is there to be told
        except Exception as error:
            # Not raised again: servers log what gets to them, message and all.
            logger.error("%s: internal error: %s", seen.id, place(error))
            self._failed(500)
            if seen.status is not None:
                return  # the server sees an unfinished response and closes the connection
            response = self._respond(Request(scope), error)
            await response(scope, receive, noted)


def _without_second_version(scope: Scope) -> Scope:
    """Return the scope of a request without the `/v1` that a base URL had too many.

    SDKs add `/v1/...` to a base URL that ends in `/v1`. One is taken off before anything else reads
    the path; an escaped one, or a third, is another path.
    """
    raw = scope.get("raw_path") or b""
    if not (raw.startswith(b"/v1/v1/") and scope["path"].startswith("/v1/v1/")):
        return scope
    return {**scope, "path": scope["path"][3:], "raw_path": raw[3:]}


def _note(seen: RequestContext, headers: Headers) -> None:
    """Record the response's headers about its source."""
    seen.cache, seen.reason = headers.get("x-cache"), headers.get("x-cache-reason")
    similarity = headers.get("x-cache-similarity")
    if similarity is not None:
        seen.similarity = float(similarity)
