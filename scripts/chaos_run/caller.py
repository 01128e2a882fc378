"""One way to ask the server, that writes down what came back."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx2

from scripts.chaos_run.history import (
    UNKNOWN,
    Answered,
    Called,
    Closed,
    History,
    Removed,
    Revoked,
    Said,
    tag_of,
)

MODEL = "claude-haiku-5-5"
ADMIN_KEY = "chaos-admin-key-of-this-run"
GIVE_UP_S = 120.0  # no request is waited for longer; what takes so long is over any limit

# The server's own settings, and what follows from them: three tries, the waits between them, the
# wait for a slot, and as much again as a store that hangs may cost (250 ms a step).
TIMEOUT_S, RETRY_WAIT_S, MAX_WAIT_S, ABANDONED_S = 4, 3, 5, 5
MISS_LIMIT_S = 3 * TIMEOUT_S + RETRY_WAIT_S + MAX_WAIT_S + 3.0
HIT_LIMIT_S = 2.0
OTHER_LIMIT_S = 10.0  # settings and keys wait for a store that hangs, 5 s at most a step


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant and the key that callers use for it now."""

    name: str
    key_id: str
    key: str


class Caller:
    """Sends requests to wherever the server listens now."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        history: History,
        *,
        url: Callable[[], str],
        lost_s: Callable[[], float],
    ) -> None:
        """`lost_s` is how long the server and this process were held until now, in all."""
        self.http = http
        self.history = history
        self._url = url
        self._lost_s = lost_s

    async def ask(
        self,
        tenant: Tenant,
        namespace: str,
        question: str,
        *,
        stream: bool = False,
        query: bool = False,
        control: str = "",
        ttl_s: int | None = None,
        limit_s: float = MISS_LIMIT_S,
        probe: bool = False,
        exact_only: bool = False,
    ) -> Answered:
        """Ask and note. With `control` as `Cache-Control`."""
        headers = {
            "x-api-key": tenant.key,
            "x-cache-namespace": namespace,
            "x-cache-tags": tag_of(question),
        }
        if control:
            headers["cache-control"] = control
        if ttl_s is not None:
            headers["x-cache-ttl"] = str(ttl_s)
        secret = control == "no-store"
        whose = f"{tenant.name}/{namespace}/{'secret' if secret else 'shared'}"
        body: dict[str, Any] = {"model": MODEL, "max_tokens": 200}
        body |= (
            {"prompt": question}
            if query
            else {
                "messages": [{"role": "user", "content": question}],
                "metadata": {"user_id": whose},
                "stream": stream,
            }
        )
        path = "/v1/query" if query else "/v1/messages"
        event = Answered(
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
            exact_only=exact_only,
        )
        lost = self._lost_s()
        got = await self._post(path, body, headers)
        event = replace(event, end=time.time(), lost_s=self._lost_s() - lost)
        if got is not None:
            event = read(event, got, stream=stream, query=query)
        self.history.answered.append(event)
        return event

    async def _post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> httpx2.Response | None:
        try:
            return await self.http.post(f"{self._url()}{path}", json=body, headers=headers)
        except httpx2.HTTPError:
            return None

    async def hang_up(self, tenant: Tenant, namespace: str, question: str) -> None:
        """Ask for a stream, read its first bytes and go."""
        headers = {"x-api-key": tenant.key, "x-cache-namespace": namespace}
        headers["x-cache-tags"] = tag_of(question)
        body = {
            "model": MODEL,
            "max_tokens": 200,
            "stream": True,
            "messages": [{"role": "user", "content": question}],
            "metadata": {"user_id": f"{tenant.name}/{namespace}/shared"},
        }
        started = time.time()
        with contextlib.suppress(httpx2.HTTPError):
            url = f"{self._url()}/v1/messages"
            async with self.http.stream("POST", url, json=body, headers=headers) as response:
                async for _ in response.aiter_raw():
                    break
        # Whatever came of it: an answer may be stored of which nobody knows.
        self.history.answered.append(
            Answered(
                started,
                started + 2 * ABANDONED_S + MISS_LIMIT_S,
                tenant.name,
                namespace,
                question,
                tenant.key_id,
                lost_s=math.inf,
            )
        )

    async def call(
        self,
        method: str,
        path: str,
        *,
        key: str = ADMIN_KEY,
        what: str = "",
        limit_s: float = OTHER_LIMIT_S,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response | None:
        """Send any other request and note it; None where no answer came."""
        started, lost = time.time(), self._lost_s()
        try:
            got = await self.http.request(
                method,
                f"{self._url()}{path}",
                json=body,
                headers={"x-api-key": key, **(headers or {})},
            )
        except httpx2.HTTPError:
            got = None
        self.history.called.append(
            Called(
                started,
                time.time(),
                what or f"{method} {path}",
                None if got is None else got.status_code,
                limit_s,
                self._lost_s() - lost,
                None if got is None else got.headers.get("request-id"),
            )
        )
        return got

    async def remove(self, tenant: Tenant, kind: str, by: str, name: str) -> None:
        """Purge or erase by entry, tag or namespace."""
        started = time.time()
        field = "entry_id" if by == "entry" else by
        got = await self.call(
            "POST",
            f"/v1/{kind}",
            key=tenant.key,
            body={field: name},
            limit_s=30.0 if kind == "erase" else OTHER_LIMIT_S,
        )
        if got is not None and got.status_code in (400, 401, 403, 404, 405, 429):
            return  # nothing was done
        done = got is not None and got.status_code == 200
        end = time.time() if done else math.inf
        self.history.removed.append(Removed(started, end, tenant.name, kind, by, name))

    async def condemn(self, tenant: Tenant, event: Answered) -> None:
        """Call an answer bad by its entry: it is forgotten."""
        started = time.time()
        body = {"verdict": "bad", "entry_id": event.entry}
        got = await self.call("POST", "/v1/feedback", key=tenant.key, body=body)
        if got is not None and 400 <= got.status_code < 500:
            return
        done = got is not None and got.status_code == 200 and got.json()["done"] == "evicted"
        end = time.time() if done else math.inf
        assert event.entry is not None
        self.history.removed.append(
            Removed(started, end, tenant.name, "feedback", "entry", event.entry)
        )

    async def create_key(self, tenant: str) -> Tenant | None:
        got = await self.call("POST", "/admin/keys", body={"tenant": tenant})
        if got is None or got.status_code != 200:
            return None
        made = got.json()
        return Tenant(tenant, made["id"], made["key"])

    async def revoke(self, key_id: str) -> None:
        started = time.time()
        got = await self.call("DELETE", f"/admin/keys/{key_id}", what="DELETE /admin/keys/ID")
        end = time.time() if got is not None and got.status_code == 200 else math.inf
        self.history.revoked.append(Revoked(started, end, key_id))

    async def close(self, tenant: Tenant, namespace: str, *, closed: bool) -> float | None:
        """Allow only exact hits in a namespace, or any; when that held, None if it is not sure."""
        bar = {"exact_only": True} if closed else {"similarity": 0.95}
        got = await self.call(
            "PUT",
            f"/admin/tenants/{tenant.name}",
            body={"namespace_bars": {namespace: bar}},
        )
        return time.time() if got is not None and got.status_code == 200 else None

    def note_closed(self, start: float, end: float, tenant: Tenant, namespace: str) -> None:
        self.history.closed.append(Closed(start, end, tenant.name, namespace))


def read(event: Answered, got: httpx2.Response, *, stream: bool, query: bool) -> Answered:
    """The event with what the response says."""
    head = got.headers
    ttl = head.get("x-cache-ttl")
    event = replace(
        event,
        status=got.status_code,
        outcome=head.get("x-cache", ""),
        reason=head.get("x-cache-reason", ""),
        entry=head.get("x-cache-entry"),
        ttl_s=int(ttl) if ttl else None,
        decision=head.get("x-cache-decision"),
        request_id=head.get("request-id"),
    )
    if got.status_code != 200:
        try:
            broken = None if got.json()["type"] == "error" else "an error that is no error"
        except (ValueError, KeyError, TypeError):
            broken = f"{got.status_code} with a body that is no error of ours"
        return replace(event, broken=broken)
    if stream and head.get("content-type", "").startswith("text/event-stream"):
        text, ended = streamed(got.text)
        if ended != "whole":
            # An error event is an honest end; a stream that just stops is none.
            return replace(event, broken=None if ended == "error" else "the stream has no end")
    else:
        try:
            body = got.json()
            text = body["text"] if query else body["content"][0]["text"]
        except (ValueError, LookupError, TypeError):
            return replace(event, broken="200 with a body that is no message")
    said = Said.read(text)
    if said is None:
        return replace(event, broken=f"the answer is not whole: {text[-40:]!r}")
    stored = event.outcome == "miss" and event.entry is not None and (event.ttl_s or 0) > 0
    return replace(event, said=said, stored=stored)


def streamed(text: str) -> tuple[str, str]:
    """The text of a stream, and its end: whole, error or none."""
    said, end = "", "none"
    for block in text.replace("\r\n", "\n").split("\n\n"):
        data = "".join(line[5:] for line in block.split("\n") if line.startswith("data:"))
        if not data:
            continue
        event = json.loads(data)
        if event["type"] == "content_block_delta":
            said += event["delta"].get("text", "")
        elif event["type"] == "error":
            end = "error"
        elif event["type"] == "message_stop":
            end = "whole"
    return said, end


__all__ = ["UNKNOWN", "Caller", "Tenant", "read", "streamed"]
