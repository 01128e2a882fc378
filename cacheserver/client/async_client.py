"""`AsyncClient`: the client of a cacheserver over HTTP, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal, Self, Unpack

import httpx2

from cacheserver.client import failures, fallback
from cacheserver.client import http as wire
from cacheserver.client.admin import Admin
from cacheserver.client.base import DEFAULT_URL, MAX_RETRIES, TIMEOUT_S, Common, timeouts
from cacheserver.client.calls import Call
from cacheserver.client.jobs import AsyncBatches, AsyncJobs
from cacheserver.client.operations import Operations, ledger_rows
from cacheserver.client.stream import AsyncStream
from cacheserver.client.types import (
    Answer,
    Asked,
    ClientError,
    NotCachedError,
    Options,
    Purge,
    PutOptions,
    Stored,
)


class AsyncClient(Common, Operations[Awaitable[dict[str, Any]], Awaitable[str]]):
    """`Client`, for asyncio; `fallback` is an `anthropic.AsyncAnthropic`."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        anthropic_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        fallback: fallback.Claude | None = None,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        Common.__init__(self, url, key=key, anthropic_key=anthropic_key, max_retries=max_retries)
        Operations.__init__(self, self._object, self._text)
        if fallback is not None:
            _refuse_useless(fallback, url)
        self._fallback = fallback
        self._owned = http is None
        self._http = http or httpx2.AsyncClient(timeout=timeouts(timeout_s), trust_env=False)

    @property
    def admin(self) -> Admin[Awaitable[dict[str, Any]], Awaitable[str]]:
        """Calls of `/admin/v1`, by group; they need an admin key."""
        return Admin(self._object, self._text)

    @property
    def jobs(self) -> AsyncJobs:
        """Questions that may wait, for half the price."""
        return AsyncJobs(self._send)

    @property
    def batches(self) -> AsyncBatches:
        """Message Batches, each item through the cache."""
        return AsyncBatches(self._object, self._text, self._lines)

    async def query(self, prompt: str | None = None, **options: Unpack[Options]) -> Answer:
        """Answer a prompt, or `messages`. See `Options`."""
        call, straight = wire.question(prompt, **options), self._straight(options)
        try:
            response = await self._send(call, straight=straight)
        except ClientError as failed:
            if self._fallback is None or not fallback.due(failed, options):
                raise
            asked = fallback.body(prompt, options)
            return fallback.answer(await self._fallback.messages.create(**asked))
        return wire.read_answer(response.status_code, response.headers, response.content)

    async def get(self, prompt: str | None = None, **options: Unpack[Asked]) -> Answer | None:
        """Look up a stored answer; None if none may be served. Claude is asked nothing."""
        try:
            response = await self._send(wire.get(prompt, **options))
        except NotCachedError:
            return None
        return wire.read_answer(response.status_code, response.headers, response.content)

    async def put(self, prompt: str | None, answer: str, **options: Unpack[PutOptions]) -> Stored:
        """Store an answer of your own, which is served like Claude's and marked `own`.

        Needs a key with the role `write`, or an admin key and `tenant`.
        """
        response = await self._send(wire.put(prompt, answer, **options))
        return wire.read_stored(response.status_code, response.headers, response.content)

    @asynccontextmanager
    async def stream(
        self, prompt: str | None = None, **options: Unpack[Options]
    ) -> AsyncIterator[AsyncStream]:
        """Stream the answer to a prompt: iterate over the events, or over `text()`."""
        call = wire.question(prompt, **options, stream=True)
        try:
            response = await self._send(call, stream=True, straight=self._straight(options))
        except ClientError as failed:
            if self._fallback is None or not fallback.due(failed, options):
                raise
            asked = fallback.body(prompt, options)
            async with await self._fallback.messages.create(**asked, stream=True) as events:
                yield AsyncStream(straight=events)
            return
        async with aclosing(response):
            yield AsyncStream(response)

    async def purge(self, **selector: Unpack[Purge]) -> int:
        """Forget one entry, or all of a tag, context key or namespace; return how many are gone."""
        return int((await self._object(wire.purge(**selector))).get("purged", 0))

    async def items(
        self, page: Callable[..., Awaitable[Mapping[str, Any]]], *given: Any, **filters: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """Iterate over all items of a list that comes in pages, such as `admin.entries.list`."""
        while True:
            found = await page(*given, **filters)
            for item in found["items"]:
                yield item
            if not found.get("next"):
                return
            filters["cursor"] = found["next"]

    async def export(
        self,
        format: Literal["csv", "jsonl", "parquet"] = "jsonl",
        *,
        start: str | float | None = None,
        end: str | float | None = None,
        tenant: str | None = None,
    ) -> AsyncIterator[bytes]:
        """Stream the ledger's rows of a range of time, in pieces of a file.

        With the admin key, of all tenants or of `tenant`.
        """
        call = ledger_rows(format, start, end, tenant)
        async with aclosing(await self._send(call, stream=True)) as response:
            try:
                async for piece in response.aiter_bytes():
                    yield piece
            except httpx2.RequestError as error:
                raise self._lost(error, begun=True) from error

    async def live(self) -> AsyncGenerator[dict[str, Any], None]:
        """Iterate over the server's counts, cost and latency, every two seconds, without end.

        Needs an admin key. Raises `ConnectionFailed` where the server ends it.
        """
        decoder = wire.EventDecoder()
        async with aclosing(await self._send(wire.LIVE, stream=True)) as response:
            try:
                async for chunk in response.aiter_bytes():
                    for event in decoder.feed(chunk):
                        yield event
            except httpx2.RequestError as error:
                raise self._lost(error, begun=True) from error
        raise wire.live_ended()

    async def close(self) -> None:
        """Close the connections. A closed client asks nothing more."""
        if self._owned:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _straight(self, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return None if self._fallback is None else options

    async def _object(self, call: Call) -> dict[str, Any]:
        response = await self._send(call)
        return wire.read_object(response.status_code, response.headers, response.content)

    async def _text(self, call: Call) -> str:
        response = await self._send(call)
        return wire.read_text(response.status_code, response.headers, response.content)

    async def _lines(self, call: Call) -> AsyncIterator[str]:
        async with aclosing(await self._send(call, stream=True)) as response:
            try:
                async for line in response.aiter_lines():
                    if line:
                        yield line
            except httpx2.RequestError as error:
                raise self._lost(error, begun=True) from error

    async def _send(
        self, call: Call, *, stream: bool = False, straight: Mapping[str, Any] | None = None
    ) -> httpx2.Response:
        retries = 0
        while True:
            response = None
            try:
                response = await self._http.send(self._request(self._http, call), stream=True)
                if response.is_success and stream:
                    return response
                async with aclosing(response):
                    body = await response.aread()
                if response.is_success:
                    return response
                failed: ClientError = failures.failure(
                    response.status_code, response.headers, body, call
                )
            except httpx2.RequestError as error:
                failed = self._lost(error, begun=response is not None)
            await asyncio.sleep(self._pause_s(call, failed, response, retries, straight))
            retries += 1


def _refuse_useless(claude: object, url: str) -> None:
    fallback.refuse_useless(claude, url, blocking=False)
