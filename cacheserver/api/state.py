"""State of the application that routes use: components and admission."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request

from cacheserver.api import admin_act
from cacheserver.api.admin_access import Admins
from cacheserver.api.body import parse, read_body, refuse_crowd
from cacheserver.api.components import Components
from cacheserver.api.dependencies import Gate
from cacheserver.api.heavy import HeavyWork
from cacheserver.api.page_assets import Assets
from cacheserver.api.recent_queries import RecentQueries
from cacheserver.core.types import LEAST_BODY_BYTES
from cacheserver.observability.live_feed import LiveFeed
from cacheserver.observability.server_counts import ServerCounts, Worker

T = TypeVar("T")


@dataclass(slots=True)
class AppState:
    parts: Components
    gate: Gate
    max_body_bytes: int  # this and the next are live settings
    store_wait_s: float  # of a request, in all
    recent: RecentQueries
    admins: Admins
    simulated: bool  # the upstream is the simulated Claude
    live: LiveFeed
    counts: ServerCounts
    worker: Worker | None = None  # this process is one of several of a command
    heavy: HeavyWork = field(default_factory=HeavyWork)
    assets: Assets = field(default_factory=Assets)  # of the admin page

    async def object(self, request: Request) -> dict[str, Any]:
        """Return a request's JSON object. Raises `BadRequest`, `TooLarge` and `Encoded`."""
        raw = await read_body(request, self._limit(request))
        found = await self.heavy.do(len(raw), lambda: parse(raw))
        admin_act.note_body(request, found)
        return found

    async def lines(self, request: Request, read: Callable[[bytes], T]) -> T:
        """Read an upload of lines with `read`. Raises as `object`, and as `read` does."""
        raw = await read_body(request, self._limit(request))

        def work() -> T:
            refuse_crowd(raw)
            return read(raw)

        return await self.heavy.do(len(raw), work)

    def _limit(self, request: Request) -> int:
        """Return the limit of a body; an admin's is never so small that none gets through."""
        if request.url.path.startswith("/admin/"):
            return max(self.max_body_bytes, LEAST_BODY_BYTES)
        return self.max_body_bytes


def state_of(request: Request) -> AppState:
    state = request.app.state.app_state
    assert isinstance(state, AppState)  # `app.create_app` sets it while the server runs
    return state
