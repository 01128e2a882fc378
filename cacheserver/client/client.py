"""Python client of a cacheserver over HTTP, synchronous and asynchronous.

    from cacheserver import Client

    with Client("http://127.0.0.1:8080", key="…") as cache:
        answer = cache.query("What is the capital of France?")
        print(answer.text, answer.decision.kind, answer.saved_usd)

Its one dependency is `httpx2`. Errors are drawn in `client.types`.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self, TypedDict, Unpack

import httpx2

from cacheserver.client import http as wire
from cacheserver.client.stream import AsyncStream, Stream
from cacheserver.client.types import (
    Answer,
    Asked,
    ClientError,
    ConnectionFailed,
    Erasure,
    NotCachedError,
    Options,
    Purge,
    PutOptions,
    Stored,
)

DEFAULT_URL = "http://127.0.0.1:8080"  # where `scripts/serve` listens
# Long answers take minutes (the anthropic SDK's limit too); a dead server shows at once.
TIMEOUT_S, CONNECT_TIMEOUT_S = 600.0, 5.0
MAX_RETRIES = 2  # as the anthropic SDK


class Report(TypedDict, total=False):
    """Parameters of a usage report. Times are ISO 8601 or Unix seconds."""

    start: str | float  # 30 days ago, where it is left out
    end: str | float
    group_by: Sequence[str]  # up to three of "key", "model", "cause" or "decision", and one of
    # "minute", "hour", "day"; or "task" or "tag" alone
    cause: Sequence[str]  # those shown, where grouped by them
    decision: Sequence[str]
    key: str  # only this key's, by its id
    model: str
    tenant: str  # with the admin key: only this one's
    target_usd: str | float  # what a call and a conversation may cost
    wrong_hit_usd: str | float  # what a wrong answer costs


class _Common:
    """State of a client, and requests and answers that both clients build and read alike."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        anthropic_key: str | None = None,
        max_retries: int = MAX_RETRIES,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("`url` must start with http:// or https://")
        self._url = url.rstrip("/")
        self._headers = wire.identification(key, anthropic_key)
        self._max_retries = max_retries

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Create a client for `CACHESERVER_URL`, with the key in `CACHESERVER_API_KEY`."""
        return cls(
            environ.get("CACHESERVER_URL") or DEFAULT_URL,
            key=environ.get("CACHESERVER_API_KEY") or None,
        )

    def _request(self, http: httpx2.Client | httpx2.AsyncClient, call: wire.Call) -> httpx2.Request:
        kind = {} if call.body is None else {"content-type": "application/json"}
        url, headers = self._url + call.path, {**self._headers, **kind}
        return http.build_request(call.method, url, content=call.body, headers=headers)

    def _lost(self, error: httpx2.RequestError) -> ConnectionFailed:
        failed = ConnectionFailed(
            f"no answer from {self._url}: {type(error).__name__}", type="connection_error"
        )
        failed.__cause__ = error
        return failed

    def _pause_s(
        self, failed: ClientError, response: httpx2.Response | None, retries: int
    ) -> float:
        """Return the seconds to wait before the next attempt. Raises `failed` if none is due."""
        status, headers = None, httpx2.Headers()
        if response is not None:
            status, headers = response.status_code, response.headers
        pause_s = wire.pause_s(retries, status, headers, random.random())
        if pause_s is None or retries >= self._max_retries:
            raise failed
        return pause_s


class Client(_Common):
    """Ask a cacheserver, one question at a time. Safe to share between threads.

    `anthropic_key` is for servers that let callers bring their own. An `http` client is yours
    to close, and brings its own timeout, proxies and certificates; ours takes none of these
    from the environment.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        anthropic_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        http: httpx2.Client | None = None,
    ) -> None:
        super().__init__(url, key=key, anthropic_key=anthropic_key, max_retries=max_retries)
        self._owned = http is None
        self._http = http or httpx2.Client(timeout=_timeout(timeout_s), trust_env=False)

    def query(self, prompt: str | None = None, **options: Unpack[Options]) -> Answer:
        """Answer a prompt, or `messages`. See `Options`."""
        response = self._send(wire.question(prompt, **options))
        return wire.read_answer(response.status_code, response.headers, response.content)

    def get(self, prompt: str | None = None, **options: Unpack[Asked]) -> Answer | None:
        """Look up a stored answer; None if none may be served. Claude is asked nothing."""
        try:
            response = self._send(wire.get(prompt, **options))
        except NotCachedError:
            return None
        return wire.read_answer(response.status_code, response.headers, response.content)

    def put(self, prompt: str | None, answer: str, **options: Unpack[PutOptions]) -> Stored:
        """Store an answer of your own, which is served like Claude's and marked `own`.

        Needs a key with the role `write`, or an admin key and `tenant`.
        """
        response = self._send(wire.put(prompt, answer, **options))
        return wire.read_stored(response.status_code, response.headers, response.content)

    @contextmanager
    def stream(self, prompt: str | None = None, **options: Unpack[Options]) -> Iterator[Stream]:
        """Stream the answer to a prompt: iterate over the events, or over `text()`."""
        response = self._send(wire.question(prompt, **options, stream=True), stream=True)
        try:
            yield Stream(response)
        finally:
            response.close()

    def stats(self) -> dict[str, Any]:
        """Return the requests, hits, cost and savings of this key's tenant."""
        return self._object(wire.stats())

    def usage(self, **parameters: Unpack[Report]) -> dict[str, Any]:
        """Tokens, cost and savings between two times. See `Report`."""
        return self._object(wire.usage(**parameters))

    def purge(self, **selector: Unpack[Purge]) -> int:
        """Forget one entry, or all of a tag, context key or namespace; return how many are gone."""
        return int(self._object(wire.purge(**selector)).get("purged", 0))

    def erase(self, *, of: str | None = None, **selector: Unpack[Erasure]) -> dict[str, Any]:
        """Erase every trace of what one of these names; what was removed where, and what not.

        `of`: with the admin key, the tenant whose it is.
        """
        return self._object(wire.erase(of=of, **selector))

    def delete_tenant(self, name: str, *, confirm: str) -> dict[str, Any]:
        """Delete a tenant with its keys, content and settings; `confirm` is its name once more.

        Needs an admin key with the role `all`.
        """
        return self._object(wire.delete_tenant(name, confirm))

    def decision(self, id: str) -> dict[str, Any]:
        """Return a decision's record, kept for a day. Raises `NotFoundError` after that."""
        return self._object(wire.decision(id))

    def close(self) -> None:
        """Close the connections. A closed client asks nothing more."""
        if self._owned:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _object(self, call: wire.Call) -> dict[str, Any]:
        response = self._send(call)
        return wire.read_object(response.status_code, response.headers, response.content)

    def _send(self, call: wire.Call, *, stream: bool = False) -> httpx2.Response:
        retries = 0
        while True:
            response = None
            try:
                response = self._http.send(self._request(self._http, call), stream=stream)
                if response.is_success:
                    return response
                body = response.read()
                failed: ClientError = wire.failure(response.status_code, response.headers, body)
                response.close()
            except httpx2.RequestError as error:
                failed = self._lost(error)
            time.sleep(self._pause_s(failed, response, retries))
            retries += 1


class AsyncClient(_Common):
    """`Client`, for asyncio."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        anthropic_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        super().__init__(url, key=key, anthropic_key=anthropic_key, max_retries=max_retries)
        self._owned = http is None
        self._http = http or httpx2.AsyncClient(timeout=_timeout(timeout_s), trust_env=False)

    async def query(self, prompt: str | None = None, **options: Unpack[Options]) -> Answer:
        """Answer a prompt, or `messages`. See `Options`."""
        response = await self._send(wire.question(prompt, **options))
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
        response = await self._send(wire.question(prompt, **options, stream=True), stream=True)
        try:
            yield AsyncStream(response)
        finally:
            await response.aclose()

    async def stats(self) -> dict[str, Any]:
        """Return the requests, hits, cost and savings of this key's tenant."""
        return await self._object(wire.stats())

    async def usage(self, **parameters: Unpack[Report]) -> dict[str, Any]:
        """Tokens, cost and savings between two times. See `Report`."""
        return await self._object(wire.usage(**parameters))

    async def purge(self, **selector: Unpack[Purge]) -> int:
        """Forget one entry, or all of a tag, context key or namespace; return how many are gone."""
        return int((await self._object(wire.purge(**selector))).get("purged", 0))

    async def erase(self, *, of: str | None = None, **selector: Unpack[Erasure]) -> dict[str, Any]:
        """Erase every trace of what one of these names; what was removed where, and what not.

        `of`: with the admin key, the tenant whose it is.
        """
        return await self._object(wire.erase(of=of, **selector))

    async def delete_tenant(self, name: str, *, confirm: str) -> dict[str, Any]:
        """Delete a tenant with its keys, content and settings; `confirm` is its name once more.

        Needs an admin key with the role `all`.
        """
        return await self._object(wire.delete_tenant(name, confirm))

    async def decision(self, id: str) -> dict[str, Any]:
        """Return a decision's record, kept for a day. Raises `NotFoundError` after that."""
        return await self._object(wire.decision(id))

    async def close(self) -> None:
        """Close the connections. A closed client asks nothing more."""
        if self._owned:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _object(self, call: wire.Call) -> dict[str, Any]:
        response = await self._send(call)
        return wire.read_object(response.status_code, response.headers, response.content)

    async def _send(self, call: wire.Call, *, stream: bool = False) -> httpx2.Response:
        retries = 0
        while True:
            response = None
            try:
                response = await self._http.send(self._request(self._http, call), stream=stream)
                if response.is_success:
                    return response
                body = await response.aread()
                failed: ClientError = wire.failure(response.status_code, response.headers, body)
                await response.aclose()
            except httpx2.RequestError as error:
                failed = self._lost(error)
            await asyncio.sleep(self._pause_s(failed, response, retries))
            retries += 1


def _timeout(timeout_s: float) -> httpx2.Timeout:
    return httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
