"""CORS: pages of listed origins may ask from a browser.

Rule: an origin is listed by the operator, or its pages read nothing; `/v1/` is open to them, and
nothing else is. Cookies are never asked for: a page sends a key, or its user is on this machine.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_PATHS: Final = "/v1/"
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_PREFLIGHT_S: Final = 7_200  # the longest that Chrome remembers one
# What a page may read beside the few that all may: all that answers say, and Claude's limits.
EXPOSED: Final = (
    *(f"x-cache{name}" for name in ("", "-age", "-cap", "-decision", "-entry", "-history")),
    *(f"x-cache-{name}" for name in ("origin", "plan", "probability", "reason", "route")),
    *(f"x-cache-{name}" for name in ("similarity", "ttl", "veto")),
    *("x-cost-usd", "x-saved-usd", "x-upstream", "x-limit", "x-budget", "x-budget-resets-at"),
    *("anthropic-organization-id", "anthropic-workspace-id"),
    *("request-id", "retry-after", "retry-after-ms", "x-should-retry"),
    *(
        f"anthropic-ratelimit-{kind}-{part}"
        for kind in ("requests", "tokens", "input-tokens", "output-tokens")
        for part in ("limit", "remaining", "reset")
    ),
)


class Cors:
    """Middleware that answers preflights of `origins`, and lets their pages read answers."""

    def __init__(self, app: ASGIApp, *, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._open = CORSMiddleware(
            app,
            allow_origins=self._origins,
            allow_methods=_METHODS,
            allow_headers=("*",),  # mirrored: betas and controls of tomorrow, too
            allow_private_network=True,
            expose_headers=EXPOSED,
            max_age=_PREFLIGHT_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listed = (
            scope["type"] == "http"
            and scope["path"].startswith(_PATHS)
            and Headers(scope=scope).get("origin") in self._origins
        )
        await (self._open if listed else self._app)(scope, receive, send)
