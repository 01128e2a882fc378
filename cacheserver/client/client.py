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
    ClientError,
    ConnectionFailed,
    Options,
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


class Client:
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
        self._url = _checked(url)
        self._headers = wire.identification(key, anthropic_key)
        self._max_retries = max_retries
        self._owned = http is None
        self._http = http or httpx2.Client(timeout=_timeout(timeout_s), trust_env=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Create a client for `CACHESERVER_URL`, with the key in `CACHESERVER_API_KEY`."""
        return cls(
            environ.get("CACHESERVER_URL") or DEFAULT_URL,
            key=environ.get("CACHESERVER_API_KEY") or None,
        )

    def query(self, prompt: str | None = None, **options: Unpack[Options]) -> Answer:
        """Answer a prompt, or `messages`. See `Options`."""
        response = self._send(wire.question(prompt, **options))
        return wire.read_answer(response.status_code, response.headers, response.content)

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

    def usage(self, **asked: Unpack[Report]) -> dict[str, Any]:
        """Tokens, cost and savings between two times. See `Report`."""
        return self._object(wire.usage(**asked))

    def purge(
        self,
        *,
        entry_id: str | None = None,
        tag: str | None = None,
        namespace: str | None = None,
    ) -> int:
        """Forget one entry, or all of a tag or a namespace; the number of entries gone."""
        call = wire.purge(entry_id=entry_id, tag=tag, namespace=namespace)
        return int(self._object(call).get("purged", 0))

    def erase(
        self,
        *,
        entry_id: str | None = None,
        tag: str | None = None,
        conversation: str | None = None,
        actor: str | None = None,
        namespace: str | None = None,
        tenant: str | None = None,
        of: str | None = None,
    ) -> dict[str, Any]:
        """Erase every trace of what one of these names; what was removed where, and what not.

        A conversation's `namespace` may stand beside it. `tenant` is your own name: all you have.
        `of`: with the admin key, the tenant whose it is.
        """
        call = wire.erase(
            of=of,
            entry_id=entry_id,
            tag=tag,
            conversation=conversation,
            actor=actor,
            namespace=namespace,
            tenant=tenant,
        )
        return self._object(call)

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
            request = self._http.build_request(
                call.method,
                self._url + call.path,
                content=call.body,
                headers=_headers(self._headers, call),
            )
            status, headers = None, httpx2.Headers()
            failed: ClientError
            try:
                response = self._http.send(request, stream=stream)
                if response.is_success:
                    return response
                status, headers = response.status_code, response.headers
                failed = wire.failure(status, headers, response.read())
                response.close()
            except httpx2.RequestError as error:
                failed = _lost(error, self._url)
            pause_s = wire.pause_s(retries, status, headers, random.random())
            if pause_s is None or retries >= self._max_retries:
                raise failed
            retries += 1
            time.sleep(pause_s)


class AsyncClient:
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
        self._url = _checked(url)
        self._headers = wire.identification(key, anthropic_key)
        self._max_retries = max_retries
        self._owned = http is None
        self._http = http or httpx2.AsyncClient(timeout=_timeout(timeout_s), trust_env=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Create a client for `CACHESERVER_URL`, with the key in `CACHESERVER_API_KEY`."""
        return cls(
            environ.get("CACHESERVER_URL") or DEFAULT_URL,
            key=environ.get("CACHESERVER_API_KEY") or None,
        )

    async def query(self, prompt: str | None = None, **options: Unpack[Options]) -> Answer:
        """Answer a prompt, or `messages`. See `Options`."""
        response = await self._send(wire.question(prompt, **options))
        return wire.read_answer(response.status_code, response.headers, response.content)

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

    async def usage(self, **asked: Unpack[Report]) -> dict[str, Any]:
        """Tokens, cost and savings between two times. See `Report`."""
        return await self._object(wire.usage(**asked))

    async def purge(
        self,
        *,
        entry_id: str | None = None,
        tag: str | None = None,
        namespace: str | None = None,
    ) -> int:
        """Forget one entry, or all of a tag or a namespace; the number of entries gone."""
        call = wire.purge(entry_id=entry_id, tag=tag, namespace=namespace)
        return int((await self._object(call)).get("purged", 0))

    async def erase(
        self,
        *,
        entry_id: str | None = None,
        tag: str | None = None,
        conversation: str | None = None,
        actor: str | None = None,
        namespace: str | None = None,
        tenant: str | None = None,
        of: str | None = None,
    ) -> dict[str, Any]:
        """Erase every trace of what one of these names; what was removed where, and what not.

        A conversation's `namespace` may stand beside it. `tenant` is your own name: all you have.
        `of`: with the admin key, the tenant whose it is.
        """
        call = wire.erase(
            of=of,
            entry_id=entry_id,
            tag=tag,
            conversation=conversation,
            actor=actor,
            namespace=namespace,
            tenant=tenant,
        )
        return await self._object(call)

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
            request = self._http.build_request(
                call.method,
                self._url + call.path,
                content=call.body,
                headers=_headers(self._headers, call),
            )
            status, headers = None, httpx2.Headers()
            failed: ClientError
            try:
                response = await self._http.send(request, stream=stream)
                if response.is_success:
                    return response
                status, headers = response.status_code, response.headers
                failed = wire.failure(status, headers, await response.aread())
                await response.aclose()
            except httpx2.RequestError as error:
                failed = _lost(error, self._url)
            pause_s = wire.pause_s(retries, status, headers, random.random())
            if pause_s is None or retries >= self._max_retries:
                raise failed
            retries += 1
            await asyncio.sleep(pause_s)


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("`url` must start with http:// or https://")
    return url.rstrip("/")


def _timeout(timeout_s: float) -> httpx2.Timeout:
    return httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))


def _headers(identification: Mapping[str, str], call: wire.Call) -> dict[str, str]:
    kind = {} if call.body is None else {"content-type": "application/json"}
    return {**identification, **kind}


def _lost(error: httpx2.RequestError, url: str) -> ConnectionFailed:
    failed = ConnectionFailed(
        f"no answer from {url}: {type(error).__name__}", type="connection_error"
    )
    failed.__cause__ = error
    return failed
