"""Routes of the hot path, answered before FastAPI is entered.

Its exception handlers, its exit stack and the search through some 90 routes were a fifth of the CPU
that a stored answer took (`scripts/bench hits`). The handlers are those that FastAPI would call.

Rule: a request is taken here only if nothing but its handler is missing: an exact path, `POST`. All
else goes the usual way, and so gets the usual 404 and 405.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send


class HotRoutes:
    """Middleware that answers `POST` on `routes` itself; `respond` answers what they raise."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: Sequence[Route],
        errors: tuple[type[Exception], ...],
        respond: Callable[[Request, Exception], Awaitable[Response]],
    ) -> None:
        self._app = app
        self._routes = {route.path: route for route in routes}
        self._errors = errors
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope["path"]) if _is_plain_post(scope) else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"], scope["path_params"] = route, {}
        request = Request(scope, receive, send)
        try:
            response: Response = await route.endpoint(request)
        except self._errors as error:
            response = await self._respond(request, error)
        await response(scope, receive, send)


def _is_plain_post(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] == "POST" and not scope.get("root_path")
