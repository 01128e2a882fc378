"""Routes that skip FastAPI's parsing, which costs 25 us a request (`scripts/bench hits`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope


class _Plain(Route):
    """Route that records itself in the scope, as FastAPI's do, for logs and traces."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return match, {**child, "route": self} if child else child


def add(
    app: Starlette,
    path: str,
    endpoint: Callable[[Request], Awaitable[Response]],
    methods: Sequence[str],
) -> None:
    app.router.routes.append(_Plain(path, endpoint, methods=list(methods)))
