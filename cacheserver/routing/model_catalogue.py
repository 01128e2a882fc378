"""Catalogue of Claude's models, refreshed in the background; no request waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from cacheserver.claude import capabilities
from cacheserver.claude.capabilities import Abilities
from cacheserver.claude.upstream import Call, Reply
from cacheserver.core import json_text
from cacheserver.core.background import BackgroundWork, Counters
from cacheserver.core.errors import UpstreamError
from cacheserver.core.types import API_VERSION

# Models come and change by the month; until the list is read our own table holds.
_FRESH_S: Final = 6 * 3_600.0
_AGAIN_S: Final = 600.0  # after a failure

_SITE: Final = "models"


class Listing(Protocol):
    async def forward(self, method: str, path: str, query: str, call: Call) -> Reply: ...


class ModelCatalogue:
    """Abilities by model id, from `GET /v1/models`."""

    def __init__(self, upstream: Listing, metrics: Counters) -> None:
        self._upstream = upstream
        self._metrics = metrics
        self._background = BackgroundWork(_SITE, metrics, limit=1)
        self._abilities: Mapping[str, Abilities] = {}
        self._next_at = 0.0

    def abilities(self, now: float) -> Mapping[str, Abilities]:
        """Return the known abilities; starts a refresh if the last is hours ago."""
        if now >= self._next_at:
            self._next_at = now + _AGAIN_S
            self._background.do(lambda: self._read(now))
        return self._abilities

    async def model_ids(self, now: float) -> frozenset[str]:
        """Return every model id, of the list and of our own table."""
        if not self._abilities:
            await self._read(now)
        return frozenset(self._abilities) | frozenset(capabilities.STATIC)

    async def drain(self) -> None:
        """Return once a started refresh is over."""
        await self._background.drain()

    async def close(self) -> None:
        """Cancel a refresh under way."""
        await self._background.close(patience_s=0.0)

    async def _read(self, now: float) -> None:
        call = Call(b"", {"anthropic-version": API_VERSION})
        try:
            reply = await self._upstream.forward("GET", "/v1/models", "limit=1000", call)
        except UpstreamError:
            self._metrics.swallowed(_SITE)
            return
        rows = _rows(reply)
        if rows is None:
            self._metrics.swallowed(_SITE)
            return
        self._abilities = capabilities.listed(rows)
        self._next_at = now + _FRESH_S


def _rows(reply: Reply) -> list[Any] | None:
    if reply.status != 200:
        return None
    try:
        page = json_text.loads(reply.body)
    except ValueError:
        return None
    rows = page.get("data") if isinstance(page, dict) else None
    return rows if isinstance(rows, list) else None
