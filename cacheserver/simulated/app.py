"""The simulated API over HTTP. Every response has `x-upstream: simulated`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from cacheserver.simulated import caller, catalogue, faults, prompt, validation
from cacheserver.simulated.books import Line
from cacheserver.simulated.caller import Caller
from cacheserver.simulated.claude import Claude
from cacheserver.simulated.delivery import Delivery, refuse
from cacheserver.simulated.directives import Fault
from cacheserver.simulated.errors import ApiError, invalid
from cacheserver.simulated.labels import Labelled
from cacheserver.simulated.requestlog import Received, without_secrets
from cacheserver.simulated.resources import KINDS
from cacheserver.simulated.settings import SimulatedSettings

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_BATCH_BYTES = 256 * 1024 * 1024
MAX_UPLOAD_BYTES = 500_000_000  # of a file

Receive: TypeAlias = Callable[[Request, int], Awaitable[tuple[Caller, bytes, float, Fault | None]]]


class Simulated:
    """A simulated Claude for tests: `app` to serve, the rest to inspect and configure."""

    def __init__(self, settings: SimulatedSettings) -> None:
        self._claude = Claude(settings)
        self.app = _app(self._claude)
        self.faults = self._claude.faults

    @property
    def requests(self) -> Sequence[Received]:
        """Return the latest requests, the oldest first."""
        return self._claude.log.requests

    @property
    def counts(self) -> Mapping[str, int]:
        """Return how many requests there were of each path."""
        return self._claude.log.counts

    @property
    def invoice(self) -> Sequence[Line]:
        """Return every charge, the oldest first."""
        return self._claude.books.lines

    def reset(self) -> None:
        """Forget requests, faults, batches, cached prompts and what was charged."""
        self._claude.reset()


def create_app(settings: SimulatedSettings) -> ASGIApp:
    """Return a simulated Claude of its own as an ASGI app."""
    return Simulated(settings).app


def _app(claude: Claude) -> ASGIApp:
    routes = _Routes(claude)
    batch = "/v1/messages/batches/{id}"
    api = Starlette(
        routes=[
            Route("/v1/messages", routes.create, methods=["POST"]),
            Route("/v1/messages/count_tokens", routes.count_tokens, methods=["POST"]),
            Route("/v1/messages/batches", routes.create_batch, methods=["POST"]),
            Route("/v1/messages/batches", routes.list_batches, methods=["GET"]),
            Route(batch, routes.show_batch, methods=["GET"]),
            Route(batch, routes.delete_batch, methods=["DELETE"]),
            Route(f"{batch}/cancel", routes.cancel_batch, methods=["POST"]),
            Route(f"{batch}/results", routes.batch_results, methods=["GET"]),
            Route("/v1/models", routes.list_models, methods=["GET"]),
            Route("/v1/models/{id}", routes.show_model, methods=["GET"]),
            *_resource_routes(claude, routes.receive),
            Route("/_simulated/requests", routes.requests, methods=["GET"]),
            Route("/_simulated/invoice", routes.invoice, methods=["GET"]),
            Route("/_simulated/faults", routes.add_fault, methods=["POST"]),
            Route("/_simulated/reset", routes.reset, methods=["POST"]),
        ],
        exception_handlers={ApiError: _refused, HTTPException: _unrouted},
    )
    return Labelled(api, claude.settings.clock)


def _resource_routes(claude: Claude, receive: Receive) -> list[Route]:
    """Return the routes of what callers keep: `resources` has the rules."""
    kept = claude.resources

    def kind_of(request: Request) -> str:
        return request.url.path.split("/")[2]

    async def collection(request: Request) -> Response:
        who, raw, now, _ = await receive(request, MAX_UPLOAD_BYTES)
        kind = kind_of(request)
        if request.method == "POST":
            sent = request.headers.get("content-type", "")
            body = None if sent.startswith("multipart/") else _json(raw)
            return _ok(kept.create(kind, raw, sent, body, who, now=now))
        found = kept.listed(kind, who)
        if {"after_id", "before_id"} & request.query_params.keys():  # as older versions page
            return _page({one["id"]: one for one in found}, request)
        return _cursor_page(found, request)

    async def item(request: Request) -> Response:
        who, raw, _, _ = await receive(request, MAX_UPLOAD_BYTES)
        kind, id = kind_of(request), request.path_params["id"]
        match request.method:
            case "POST":
                return _ok(kept.update(kind, id, _json(raw), who))
            case "DELETE":
                return _ok(kept.delete(kind, id, who))
        return _ok(kept.show(kind, id, who))

    async def part(request: Request) -> Response:
        who, _, _, _ = await receive(request, MAX_UPLOAD_BYTES)
        kind, id, name = kind_of(request), request.path_params["id"], request.path_params["part"]
        if name == "content":
            return Response(kept.content(kind, id, who), media_type="application/octet-stream")
        if request.method == "POST":
            return _ok(kept.add_part(kind, id, name.removesuffix("s"), who))
        return _cursor_page(kept.parts(kind, id, who), request)

    ends = (("", collection), ("/{id}", item), ("/{id}/{part:path}", part))
    return [
        Route(f"/v1/{kind}{end}", handler, methods=["GET", "POST", "DELETE"][: 3 if end else 2])
        for kind in KINDS
        for end, handler in ends
    ]


def _cursor_page(items: Sequence[Any], request: Request) -> Response:
    """Return the page that a cursor asks for: the place of its first item, as `page_3`."""
    limit, page = (request.query_params.get(name, "") for name in ("limit", "page"))
    at, most = int(page.removeprefix("page_") or 0), int(limit or 20)
    more = f"page_{at + most}" if len(items) > at + most else None
    return _ok({"data": items[at : at + most], "next_page": more})


class _Routes:
    """One method a route."""

    def __init__(self, claude: Claude) -> None:
        self._claude = claude

    async def create(self, request: Request) -> Response:
        """Answer one Messages request."""
        who, raw, now, fault = await self.receive(request)
        body = _json(raw)
        answer = self._claude.answer(body, who, now=now)
        fault = fault or answer.fault
        refuse(fault)
        return Delivery(
            answer.message,
            stream=bool(body.get("stream")),
            settings=self._claude.settings,
            fault=fault,
            begun=lambda: self._claude.begin(answer, now=now),
            request_id=request.scope["simulated.request_id"],
        )

    async def count_tokens(self, request: Request) -> Response:
        """Estimate a prompt's tokens; cache marks make no difference."""
        who, raw, _, _ = await self.receive(request)
        body, model = validation.check(_json(raw), version=who.version, counting=True)
        return _ok({"input_tokens": prompt.tokens(body, model)})

    async def create_batch(self, request: Request) -> Response:
        """Take a batch."""
        who, raw, now, _ = await self.receive(request, MAX_BATCH_BYTES)
        made = self._claude.batches.create(_json(raw), who, now=now)
        return self._batch(request, who, made, now)

    async def list_batches(self, request: Request) -> Response:
        """Show the caller's batches, the newest first."""
        who, _, now, _ = await self.receive(request)
        ids = self._claude.batches.listed(who)
        base_url = _base_url(request)
        return _page(
            {
                each: self._claude.batches.show(each, who, base_url=base_url, now=now)
                for each in ids
            },
            request,
        )

    async def show_batch(self, request: Request) -> Response:
        """Show one batch."""
        who, _, now, _ = await self.receive(request)
        return self._batch(request, who, request.path_params["id"], now)

    async def delete_batch(self, request: Request) -> Response:
        """Forget a batch that has ended."""
        who, _, _, _ = await self.receive(request)
        self._claude.batches.delete(request.path_params["id"], who)
        return _ok({"id": request.path_params["id"], "type": "message_batch_deleted"})

    async def cancel_batch(self, request: Request) -> Response:
        """Answer no more of a batch."""
        who, _, now, _ = await self.receive(request)
        self._claude.batches.cancel(request.path_params["id"], who, now=now)
        return self._batch(request, who, request.path_params["id"], now)

    async def batch_results(self, request: Request) -> Response:
        """Send a batch's results, a line each."""
        who, _, now, _ = await self.receive(request)
        results = self._claude.batches.results(request.path_params["id"], who, now=now)
        lines = b"".join(orjson.dumps(result) + b"\n" for result in results)
        return Response(lines, media_type="application/x-jsonl")

    async def list_models(self, request: Request) -> Response:
        """Show the models."""
        await self.receive(request)
        return _page({model.id: model.info() for model in catalogue.MODELS}, request)

    async def show_model(self, request: Request) -> Response:
        """Show one model, by id or alias."""
        await self.receive(request)
        return _ok(catalogue.find(request.path_params["id"]).info())

    async def requests(self, request: Request) -> Response:
        """Show what arrived."""
        log = self._claude.log
        return _ok(
            {"counts": dict(log.counts), "requests": [each.shown() for each in log.requests]}
        )

    async def invoice(self, request: Request) -> Response:
        """Show what was charged."""
        books = self._claude.books
        lines = [[line.message_id, line.nanodollars, line.question] for line in books.lines]
        return _ok({"total_nanodollars": books.total, "lines": lines})

    async def add_fault(self, request: Request) -> Response:
        """Let something go wrong with the requests to come."""
        self._claude.faults.add(faults.read(_json(await request.body())))
        return _ok({"waiting": len(self._claude.faults)})

    async def reset(self, request: Request) -> Response:
        """Forget everything."""
        self._claude.reset()
        return _ok({})

    async def receive(
        self, request: Request, max_bytes: int = MAX_BODY_BYTES
    ) -> tuple[Caller, bytes, float, Fault | None]:
        """Note a request and return who it is from, its body, when it started and its fault."""
        raw = await request.body()
        path = request.url.path
        headers = dict(request.headers)
        self._claude.log.add(
            Received(
                method=request.method,
                path=path,
                query=request.url.query,
                headers=without_secrets(headers),
                account=caller.account(headers),
                raw=raw,
            )
        )
        who = caller.read(headers)
        if len(raw) > max_bytes:
            raise ApiError(413, f"Request exceeds the maximum size of {max_bytes} bytes")
        now = self._claude.settings.clock()
        self._claude.batches.advance(now)
        fault = self._claude.faults.take(path)
        refuse(fault)
        return who, raw, now, fault

    def _batch(self, request: Request, who: Caller, batch_id: str, now: float) -> Response:
        base_url = _base_url(request)
        return _ok(self._claude.batches.show(batch_id, who, base_url=base_url, now=now))


def _page(items: Mapping[str, Any], request: Request) -> Response:
    """Return the page of `items` (by id, in order) that the query asks for."""
    ids = list(items)
    try:
        limit = int(request.query_params.get("limit", "20"))
    except ValueError:
        limit = 0
    if not 1 <= limit <= 1_000:
        raise invalid("limit: Input should be between 1 and 1000")
    after, before = (request.query_params.get(name) for name in ("after_id", "before_id"))
    if before is not None:
        earlier = ids[: _index(ids, before)]
        page, more = earlier[-limit:], len(earlier) > limit
    else:
        later = ids if after is None else ids[_index(ids, after) + 1 :]
        page, more = later[:limit], len(later) > limit
    return _ok(
        {
            "data": [items[each] for each in page],
            "has_more": more,
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }
    )


def _index(ids: Sequence[str], wanted: str) -> int:
    if wanted not in ids:
        raise invalid(f"cursor: {wanted!r} was not found")
    return ids.index(wanted)


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise invalid("The request body is not valid JSON") from None


def _ok(body: Any) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return Response(
        orjson.dumps(error.body(request.scope["simulated.request_id"])),
        status_code=error.status,
        media_type="application/json",
        headers=error.headers,
    )


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return await _refused(request, ApiError(error.status_code, error.detail))
