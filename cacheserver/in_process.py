"""The cache inside a process: the very same service, without a server.

    async with open_cache(Settings(upstream="simulated")) as cache:
        answer = await cache.query("How do I reset my password?")

What it stores, a server on the same data serves later, and the reverse.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Unpack

from cacheserver import bootstrap
from cacheserver.api.components import Components
from cacheserver.api.resources import cache, erasure
from cacheserver.api.resources.query import answer_as
from cacheserver.cache import explanation, question
from cacheserver.cache.answer import Answer as ServedAnswer
from cacheserver.claude import sse
from cacheserver.client import http
from cacheserver.client.types import Answer, Erasure, Options, Purge
from cacheserver.config.settings import Settings, load
from cacheserver.core import json_text
from cacheserver.core.types import Query


@asynccontextmanager
async def open_cache(
    settings: Settings | None = None, *, tenant: str = "default"
) -> AsyncIterator[Cache]:
    """Open the cache as one tenant; without `settings`, those the server would read.

    Raises `SettingsError` for what must be changed and `StoreError` where Redis is away. A data
    directory serves one process at a time; a Redis of your own (`redis_url`) any number.
    """
    async with bootstrap.build(load() if settings is None else settings) as parts:
        yield Cache(parts, tenant)


class Cache:
    """Answers questions as one tenant. Errors are those of `cacheserver.core.errors`."""

    def __init__(self, parts: Components, tenant: str) -> None:
        self._parts = parts
        self._tenant = tenant

    async def ready(self) -> None:
        """Return once questions are matched by similarity; before, they are matched exactly."""
        await self._parts.entries.restored.wait()

    async def query(self, prompt: str | None = None, **options: Unpack[Options]) -> Answer:
        """The answer to a prompt, or to `messages`.

        Raises `BadRequest`, `NotCached`, and `UpstreamError` where Claude fails.
        """
        query, answer = await self._answer(http.question(prompt, **options))
        shown = question.show(query, answer, self._parts.clock())
        return http.read_answer(200, answer.headers, json_text.dumps(shown))

    @asynccontextmanager
    async def stream(
        self, prompt: str | None = None, **options: Unpack[Options]
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The same as Anthropic's events, each a dictionary, as they come."""
        _, answer = await self._answer(http.question(prompt, **options, stream=True))
        assert answer.events is not None  # it was asked for as a stream
        async with aclosing(answer.events) as events:
            yield _decoded(events)

    async def stats(self) -> dict[str, Any]:
        """Return the usage of this tenant: requests, hits, cost and savings."""
        return cache.shown_stats(await self._parts.decision_log.stats(self._tenant))

    async def purge(self, **selector: Unpack[Purge]) -> int:
        """Forget one entry, or all of a tag, context key or namespace; return how many are gone."""
        fields = json_text.loads(http.purge(**selector).body or b"{}")
        return await cache.purge_as(self._parts, self._tenant, fields)

    async def erase(self, **selector: Unpack[Erasure]) -> dict[str, Any]:
        """Erase every trace of what one of these names, as `Client.erase`."""
        fields = json_text.loads(http.erase(of=None, **selector).body or b"{}")
        mine = await self._parts.tenants.of_caller(self._tenant)
        return await erasure.erase_as(self._parts, mine, fields, who="process")

    async def decision(self, id: str) -> dict[str, Any] | None:
        """All of a decision, for a day; None after that."""
        found = await self._parts.decision_log.decision(self._tenant, id)
        return None if found is None else explanation.record_for_caller(found)

    async def _answer(self, call: http.Call) -> tuple[Query, ServedAnswer]:
        tenant = await self._parts.tenants.of_caller(self._tenant)
        return await answer_as(self._parts, tenant, json_text.loads(call.body or b"{}"))


async def _decoded(events: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    async for raw in events:
        event = sse.decode(raw)
        if event is not None and event.get("type") != "ping":
            yield event
