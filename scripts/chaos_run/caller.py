"""Client of the server that records every response."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx2

from scripts.chaos_run.history import (
    MODEL,
    MOST_TOKENS,
    Called,
    Exchange,
    History,
    Turn,
    tag_of,
)
from scripts.chaos_run.processes import Server
from scripts.chaos_run.reading import read

# Of calls that are left at once: what they may have cost excuses no charge of others.
LEFT_MODEL = "claude-sonnet-5-5"
ADMIN_KEY = "chaos-admin-key-of-this-run"
GIVE_UP_S = 120.0  # no request is waited for longer; what takes so long is over any limit

# The server's own settings, and what follows from them: three tries, the waits between them, the
# wait for a slot, and as much again as a store that hangs may cost (250 ms a step).
TIMEOUT_S, RETRY_WAIT_S, MAX_WAIT_S, ABANDONED_S = 4, 3, 5, 5
MISS_LIMIT_S = 3 * TIMEOUT_S + RETRY_WAIT_S + MAX_WAIT_S + 3.0
HIT_LIMIT_S = 2.0
BUSY = frozenset({429, 503, 529})
OTHER_LIMIT_S = 10.0  # settings and keys wait for a store that hangs, 5 s at most a step


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant and the key that callers use for it now."""

    name: str
    key_id: str
    key: str


class Caller:
    """Client of one of the servers, drawn for each request; it follows their addresses."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        history: History,
        servers: Sequence[Server],
        *,
        seed: int,
        lag_s: Callable[[], float],
    ) -> None:
        """`lag_s` is how long this process was kept from its work until now, in all."""
        self.http = http
        self.history = history
        self.servers = servers
        self._lag_s = lag_s
        self._draw = random.Random(f"servers {seed}")

    @property
    def url(self) -> str:
        """The address that one of the servers listens at now."""
        return self._any().url

    def _any(self) -> Server:
        return self._draw.choice(self.servers)

    def _lost_s(self, server: Server) -> float:
        return server.lost_s + self._lag_s()

    async def ask_each(self, tenant: Tenant, namespace: str, question: str, **how: Any) -> None:
        """Ask the same at every server at the same time."""
        await asyncio.gather(
            *(self.ask(tenant, namespace, question, at=each, **how) for each in self.servers)
        )

    async def ask(
        self,
        tenant: Tenant,
        namespace: str,
        question: str,
        *,
        stream: bool = False,
        query: bool = False,
        talk: str | None = None,
        control: str = "",
        off: str = "",
        ttl_s: int | None = None,
        limit_s: float = MISS_LIMIT_S,
        probe: bool = False,
        at: Server | None = None,
    ) -> Exchange:
        """Ask and note. With `control` as `Cache-Control`, within the conversation `talk`."""
        server = at or self._any()
        headers = self._head(tenant, namespace)
        if talk is None:
            headers["x-cache-tags"] = tag_of(question)
        if control:
            headers["cache-control"] = control
        if off:
            headers["x-cache-off"] = off
        if ttl_s is not None:
            headers["x-cache-ttl"] = str(ttl_s)
        secret = control == "no-store"
        path, body = "/v1/messages", self._body(tenant, namespace, question, secret=secret)
        body["stream"] = stream
        if query or talk is not None:
            path, body = (
                "/v1/query",
                {"model": MODEL, "max_tokens": MOST_TOKENS, "prompt": question},
            )
        if talk is not None:
            body["conversation"] = talk
        event = Exchange(
            start=time.time(),
            end=math.inf,
            tenant=tenant.name,
            namespace=namespace,
            question=question,
            key=tenant.key_id,
            limit_s=limit_s,
            secret=secret,
            refresh=control == "no-cache",
            probe=probe,
            off=off,
            server=server.number,
        )
        lost = self._lost_s(server)
        got = await self._post(f"{server.url}{path}", body, headers)
        event = replace(event, end=time.time(), lost_s=self._lost_s(server) - lost)
        if got is not None:
            event = read(event, got, stream=stream)
            if talk is not None and event.content and "x-cache-conversation" not in got.headers:
                self.history.turns.append(Turn(event.end, tenant.name, talk, question))
        self.history.exchanges.append(event)
        return event

    def _head(self, tenant: Tenant, namespace: str) -> dict[str, str]:
        key = {"x-api-key": tenant.key} if tenant.key else {}
        return key | {"x-cache-namespace": namespace}

    def _body(
        self, tenant: Tenant, namespace: str, question: str, *, secret: bool = False
    ) -> dict[str, Any]:
        whose = f"{tenant.name}/{namespace}/{'secret' if secret else 'shared'}"
        return {
            "model": MODEL,
            "max_tokens": MOST_TOKENS,
            "messages": [{"role": "user", "content": question}],
            "metadata": {"user_id": whose},
        }

    async def _post(
        self, url: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> httpx2.Response | None:
        try:
            return await self.http.post(url, json=body, headers=headers)
        except httpx2.HTTPError:
            return None

    async def hang_up(self, tenant: Tenant, namespace: str, question: str, *, secret: bool) -> None:
        """Ask for a stream, read its first bytes and go; with `secret`, for one of `no-store`."""
        headers = self._head(tenant, namespace) | {"x-cache-tags": tag_of(question)}
        if secret:
            headers["cache-control"] = "no-store"
        body = self._body(tenant, namespace, question, secret=secret) | {"stream": True}
        started, server = time.time(), self._any()
        with contextlib.suppress(httpx2.HTTPError):
            url = f"{server.url}/v1/messages"
            async with self.http.stream("POST", url, json=body, headers=headers) as response:
                async for _ in response.aiter_raw():
                    break
        if secret:
            return
        # Whatever came of it: an answer may be stored of which nobody knows.
        self.history.exchanges.append(
            Exchange(
                started,
                started + 2 * ABANDONED_S + MISS_LIMIT_S,
                tenant.name,
                namespace,
                question,
                tenant.key_id,
                lost_s=math.inf,
                server=server.number,
            )
        )

    async def leave(self, tenant: Tenant, question: str, after_s: float) -> None:
        """Ask for a stream that nobody may store, and go before it begins."""
        headers = self._head(tenant, "default") | {"cache-control": "no-store"}
        body = self._body(tenant, "default", question, secret=True)
        body |= {"model": LEFT_MODEL, "stream": True}
        with contextlib.suppress(TimeoutError, httpx2.HTTPError):
            async with asyncio.timeout(after_s):
                await self.http.post(f"{self.url}/v1/messages", json=body, headers=headers)

    async def call(
        self,
        method: str,
        path: str,
        *,
        key: str = ADMIN_KEY,
        what: str = "",
        limit_s: float = OTHER_LIMIT_S,
        body: Mapping[str, Any] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        right: frozenset[int] | None = None,
        at: Server | None = None,
    ) -> httpx2.Response | None:
        """Send any other request and note it; None where no answer came.

        `right` are the statuses that may come, beside those of a server that has no time or no
        store just now.
        """
        started, server = time.time(), at or self._any()
        lost = self._lost_s(server)
        try:
            got = await self.http.request(
                method,
                f"{server.url}{path}",
                content=body if isinstance(body, bytes) else None,
                json=None if isinstance(body, bytes) else body,
                headers={"x-api-key": key, **(headers or {})},
            )
        except httpx2.HTTPError:
            got = None
        wrong = None
        if got is not None and right is not None and got.status_code not in right | BUSY:
            wrong = f"answered {got.status_code}"
        self.history.called.append(
            Called(
                started,
                time.time(),
                what or f"{method} {path}",
                None if got is None else got.status_code,
                limit_s,
                self._lost_s(server) - lost,
                None if got is None else got.headers.get("request-id"),
                wrong,
            )
        )
        return got


__all__ = ["Caller", "Tenant"]
