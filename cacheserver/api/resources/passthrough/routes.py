"""Everything else under `/v1/`: passed on to Anthropic as it is, bodies and answers as they come.

Rule: the path that is sent is built from the segments that were checked, never from the caller's
spelling. With the server's key, who made an id is asked first (`passthrough.rules`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final
from urllib.parse import urlencode

import httpx2
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from cacheserver.api import dependencies, errors
from cacheserver.api.dependencies import Caller
from cacheserver.api.disconnects import while_there
from cacheserver.api.state import AppState, state_of
from cacheserver.claude.event_stream import MAX_EVENT_BYTES
from cacheserver.claude.upstream import Call
from cacheserver.claude.upstream_http import HOP_BY_HOP, shaped
from cacheserver.core import json_text
from cacheserver.core.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    StoreError,
    TooLarge,
    UpstreamError,
)
from cacheserver.passthrough import rules
from cacheserver.passthrough.owners import MOST_NAMED, Owners
from cacheserver.passthrough.rules import Place
from cacheserver.storage import deadline

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Pages of a list that are read for one of the tenant's: 100 of 1,000 items, Anthropic's largest.
_MOST_PAGES: Final = 100
# What says who is before us, and what a browser adds: not Anthropic's to know.
_OF_PROXIES = ("forwarded", "x-real-ip", "origin", "referer", "via", dependencies.OWN_KEY)
_OF_PROXIES_PREFIXES = ("x-forwarded-", "sec-", "x-cache", "cf-", "x-stainless-")
_SECRET = frozenset({"authorization", "cookie", "x-api-key", "proxy-authorization"})
_NOT_PASSED_BACK = HOP_BY_HOP | {"set-cookie", "server", "date", "via", "content-length"}


async def pass_on(request: Request) -> Response:
    """Pass a request on, or say why it is not."""
    state = state_of(request)
    deadline.start(state.store_wait_s)
    caller = await state.gate.admit(request)
    owners = state.parts.passthrough
    place = rules.read(request.scope["path"], request.scope.get("raw_path", b""))
    if place is None:
        raise NotFound("there is no such route; `/docs` lists those there are")
    relayed = _Relayed(request, state, caller, place)
    if caller.credential is not None:
        return await relayed.response(relayed.content(), {}, "own-key")
    match rules.act(request.method, place):
        case rules.Refusal(reason):
            raise Forbidden(reason)
        case "list":
            return await _list(relayed, owners, caller.tenant.name)
        case "create":
            return await _create(relayed, owners, caller.tenant.name)
        case "use" if not await owners.owns(caller.tenant.name, place.kind, place.id):
            raise _not_found(place)
    content = await _checked(relayed, owners, caller.tenant.name)
    if not rules.ends(request.method, place):
        return await relayed.response(content, {}, "forwarded")
    answer = await relayed.whole(content)
    if answer.is_success:
        try:
            await owners.forget(place.id)
        except StoreError:  # it names what is no more
            state.parts.metrics.swallowed("passthrough")
    return _shown(answer, answer.content)


class _Relayed:
    """A request that is passed on."""

    def __init__(self, request: Request, state: AppState, caller: Caller, place: Place) -> None:
        self.request = request
        self.place = place
        self.body_limit = state.max_body_bytes
        self.heavy = state.heavy
        self._upload_limit = state.parts.host.settings.max_upload_bytes
        self._upstream = state.parts.upstream
        headers = _headers(request)
        self._own = {name: headers[name] for name in _BODY_HEADERS if name in headers}
        self._call = Call(
            b"",
            {name: value for name, value in headers.items() if name not in self._own},
            caller.credential,
            tenant=caller.tenant.name,
        )

    @property
    def has_body(self) -> bool:
        length = self.request.headers.get("content-length", "0")
        return length != "0" or "transfer-encoding" in self.request.headers

    @property
    def is_upload(self) -> bool:
        kind = self.request.headers.get("content-type", "")
        multipart = kind.partition(";")[0].strip().lower().startswith("multipart/")
        return multipart and self.place.kind in rules.UPLOADED

    def content(self) -> AsyncIterator[bytes] | bytes:
        """Return the body, to be read while it is sent. Raises `TooLarge` at once if announced."""
        if not self.has_body:
            return b""
        length = self.request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._upload_limit:
            raise self._too_large()
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        sent = 0
        async for chunk in self.request.stream():
            sent += len(chunk)
            if sent > self._upload_limit:
                raise self._too_large()
            yield chunk

    def _too_large(self) -> TooLarge:
        message = f"the body is larger than {self._upload_limit} bytes"
        return TooLarge(message, headers={"connection": "close"})

    async def open(
        self,
        stack: AsyncExitStack,
        content: AsyncIterator[bytes] | bytes,
        headers: Mapping[str, str],
        query: str | None = None,
    ) -> httpx2.Response:
        """Send the request and return the response, open until `stack` is closed."""
        query = self.request.url.query if query is None else query
        if not (query.isascii() and query.isprintable()):
            raise BadRequest("query", "must be printable ASCII")
        url = f"{self.place.path}?{query}" if query else self.place.path
        own = {n: v for n, v in self._own.items() if content or n == "accept-encoding"}
        if isinstance(content, bytes):  # it was unpacked
            own.pop("content-length", None)
            own.pop("content-encoding", None)
        own.update(headers)
        relay = self._upstream.relay(self.request.method, url, own, content, self._call)
        opened = stack.enter_async_context(relay)
        # A body that is still to be read watches for the caller by itself.
        if isinstance(content, bytes):
            return await while_there(self.request, opened)
        return await opened

    async def response(
        self, content: AsyncIterator[bytes] | bytes, headers: Mapping[str, str], reason: str
    ) -> Response:
        """Return the response, whose body is passed on as it comes."""
        stack = AsyncExitStack()
        try:
            answer = await self.open(stack, content, headers)
        except BaseException:
            await stack.aclose()
            raise
        return _Streamed(answer, stack, _passed_back(answer, reason))

    async def whole(
        self, content: AsyncIterator[bytes] | bytes, query: str | None = None
    ) -> httpx2.Response:
        """Return the response, read to its end. Raises `UpstreamError`, for one too large too."""
        async with AsyncExitStack() as stack:
            answer = await self.open(stack, content, {"accept-encoding": "identity"}, query)
            body = bytearray()
            with shaped():
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_EVENT_BYTES:
                        raise UpstreamError.shaped(502, "api_error", "the answer is too large")
            return httpx2.Response(
                answer.status_code,
                headers=[(n, v) for n, v in answer.headers.multi_items() if n not in _PACKED],
                content=bytes(body),
            )


class _Streamed(StreamingResponse):
    """A response passed on as it comes; closed however it ends, also if it never began."""

    def __init__(
        self, answer: httpx2.Response, stack: AsyncExitStack, headers: Mapping[str, str]
    ) -> None:
        super().__init__(self._chunks(answer), answer.status_code, headers)
        self._stack = stack

    @staticmethod
    async def _chunks(answer: httpx2.Response) -> AsyncIterator[bytes]:
        # What breaks off is raised: the connection then ends without the body's end.
        with shaped():
            async for chunk in answer.aiter_raw():
                yield chunk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._stack.aclose()


_BODY_HEADERS = ("content-type", "content-encoding", "content-length", "accept-encoding")
_PACKED = frozenset({"content-encoding", "content-length", "transfer-encoding"})


async def _checked(relayed: _Relayed, owners: Owners, tenant: str) -> AsyncIterator[bytes] | bytes:
    """Return the body to send. Raises `NotFound` if it names what another tenant made, and
    `BadRequest` if it may name more than can be asked of.

    An upload goes through as it comes: what is in a file names nothing.
    """
    if not relayed.has_body or relayed.is_upload:
        return relayed.content()
    raw = await errors.read_body(relayed.request, relayed.body_limit)
    if not raw:
        return raw
    named = await relayed.heavy.do(
        len(raw), lambda: rules.id_like(json_text.dumps(errors.parse(raw)))
    )
    if len(named) > MOST_NAMED:
        raise BadRequest("body", f"has more than {MOST_NAMED:,} texts that may be ids")
    other = await owners.others(tenant, named)
    if other is not None:
        raise NotFound(f"`{other}` was not found")
    return raw


async def _create(relayed: _Relayed, owners: Owners, tenant: str) -> Response:
    """Create something and record who made it."""
    answer = await relayed.whole(await _checked(relayed, owners, tenant))
    if answer.is_success:
        id = _object(answer).get("id")
        if not isinstance(id, str) or not rules.is_id(id):
            raise UpstreamError.shaped(502, "api_error", "Claude's answer has no `id`")
        try:
            mine = await owners.record(tenant, relayed.place.kind, id)
        except StoreError:
            raise UpstreamError.shaped(
                503,
                "api_error",
                f"`{id}` was created, but the store is away and it cannot be reached here; the "
                "operator can delete it with the server's key",
            ) from None
        if not mine:
            raise Conflict("it exists already, and is another's; choose another name")
    return _shown(answer, answer.content)


async def _list(relayed: _Relayed, owners: Owners, tenant: str) -> Response:
    """List what the tenant made, and what is everybody's.

    Pages without any of these are read on, for an SDK takes an empty page for the end.
    """
    parameters = relayed.request.query_params.multi_items()
    backwards = any(name == "before_id" for name, _ in parameters)
    for _ in range(_MOST_PAGES):
        answer = await relayed.whole(b"", urlencode(parameters))
        if not answer.is_success:
            return _shown(answer, answer.content)
        page = _object(answer)
        if not isinstance(page.get("data"), list):
            raise UpstreamError.shaped(502, "api_error", "Claude's answer is no list")
        items = [item for item in page["data"] if isinstance(item, dict)]
        made = await owners.of([str(item["id"]) for item in items if rules.is_id(item.get("id"))])
        mine = (tenant, relayed.place.kind)
        shown = [
            item
            for item in items
            if made.get(str(item.get("id"))) == mine
            or (relayed.place.kind == "skills" and rules.of_everybody(item))
        ]
        cursor = rules.next_cursor(page, backwards=backwards)
        if shown or cursor is None or not items:
            return _shown(answer, json_text.dumps(rules.filtered(page, shown)))
        kept = [(n, v) for n, v in parameters if n not in ("page", "after_id", "before_id")]
        parameters = [*kept, cursor]
    raise Forbidden(
        f"none of the first {_MOST_PAGES} pages of this account's list has any of yours; ask for "
        "more on a page (`limit`), or keep the ids"
    )


def _headers(request: Request) -> dict[str, str]:
    """Return the caller's headers for Anthropic: all but ours, their credentials and the hop's.

    Raises `BadRequest` for a value that HTTP does not carry.
    """
    found = dependencies.joined(request.headers)
    listed = {name.strip().lower() for name in found.get("connection", "").split(",")}
    gone = HOP_BY_HOP | _SECRET | set(_OF_PROXIES) | listed | {"host", "expect"}
    kept = {
        name: value
        for name, value in found.items()
        if name not in gone and not name.startswith(_OF_PROXIES_PREFIXES)
    }
    for name, value in kept.items():
        if not (value.isascii() and value.isprintable()):
            raise BadRequest(name, "must be printable ASCII")
    return kept


def _passed_back(answer: httpx2.Response, reason: str) -> dict[str, str]:
    back = {
        name: value
        for name, value in answer.headers.items()
        # Which pages may ask is this server's to say.
        if name not in _NOT_PASSED_BACK and not name.startswith("access-control-")
    }
    if (length := answer.headers.get("content-length")) is not None:
        back["content-length"] = length
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        back["x-accel-buffering"] = "no"
    return {**back, "x-cache": "bypass", "x-cache-reason": reason}


def _shown(answer: httpx2.Response, body: bytes) -> Response:
    headers = _passed_back(answer, "forwarded")
    headers.pop("content-length", None)
    return Response(body, answer.status_code, headers)


def _object(answer: httpx2.Response) -> dict[str, Any]:
    try:
        found = json_text.loads(answer.content)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _not_found(place: Place) -> NotFound:
    return NotFound(f"`{place.id[:64]}` was not found in `/v1/{place.kind}`")
