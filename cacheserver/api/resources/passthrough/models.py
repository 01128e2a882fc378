"""`/v1/models` and `count_tokens`: Claude's own, where `auto` is a model too."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from cacheserver.api import dependencies, errors
from cacheserver.api.dependencies import Caller
from cacheserver.api.disconnects import while_there
from cacheserver.api.plain_route import PlainRoute
from cacheserver.api.state import AppState, state_of
from cacheserver.cache import fingerprint
from cacheserver.cache.controls import read_controls
from cacheserver.claude.calls import Reply
from cacheserver.claude.upstream import Call
from cacheserver.core import json_text
from cacheserver.core.errors import NotFound
from cacheserver.core.types import AUTO, Query
from cacheserver.storage import deadline

# A segment that begins so is never `..`: with the server's key, `GET /v1/models/../files` would
# read whatever the account holds, and everybody's batches with it.
_SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._:@-]*"
_MODEL_ID = re.compile(f"{_SEGMENT}(/{_SEGMENT})*")

# As Claude's own, with nothing that differs by the model that is chosen.
_AUTO: Final = {
    "type": "model",
    "id": AUTO,
    "display_name": "Auto: the cheapest model that can do it",
    "created_at": "1970-01-01T00:00:00Z",  # "may be an epoch value", says Anthropic of its own
    "line": None,
    "lifecycle": "active",
    "deprecated_at": None,
    "retires_at": None,
    "max_input_tokens": None,
    "max_tokens": None,
    "capabilities": None,
}


async def count_tokens(request: Request) -> Response:
    """Pass a count on to Claude; of `auto`, with the model that a question would go to."""
    state, caller = await _admitted(request)
    raw = await errors.read_body(request, state.max_body_bytes)
    body = await state.heavy.do(len(raw), lambda: errors.parse(raw))
    if body.get("model") != AUTO:
        return _shown(await while_there(request, _forward(request, state, caller, raw)))
    # No money for a count: Haiku is not asked how hard it is.
    routing = caller.tenant.routing
    unasked = replace(routing, haiku=replace(routing.haiku, ask="never"))
    query = await state.heavy.do(
        len(raw),
        lambda: fingerprint.read(
            body,
            raw,
            headers=dependencies.forwarded(request.headers),
            tenant=replace(caller.tenant, routing=unasked),
            controls=read_controls(request.headers),
            upstream=state.parts.upstream.identity,
            language=state.parts.language,
            credential=caller.credential,
            key_id=caller.key_id,
        ),
    )
    return await while_there(request, _counted(request, state, caller, query))


async def _counted(request: Request, state: AppState, caller: Caller, query: Query) -> Response:
    vector = None if query.text is None else await state.parts.entries.vector(query.text)
    route = await state.parts.call_planner.route(query, vector, state.parts.clock())
    raw = json_text.dumps({**query.body, "model": route.model})
    answer = _shown(await _forward(request, state, caller, raw))
    answer.headers["x-cache-route"] = f"{route.model}; {route.reason}"
    return answer


async def list_all(request: Request) -> Response:
    """Pass Claude's list on, with `auto` before it on the first page."""
    state, caller = await _admitted(request)
    reply = await while_there(request, _forward(request, state, caller))
    if reply.status == 200 and not {"after_id", "before_id"} & request.query_params.keys():
        reply = replace(reply, body=_with_auto(reply.body))
    return _shown(reply)


async def retrieve(request: Request) -> Response:
    """Pass one of Claude's models on; `auto` is ours."""
    state, caller = await _admitted(request)
    model = request.path_params["id"]
    if model == AUTO:
        return _shown(Reply(200, {"content-type": "application/json"}, json_text.dumps(_AUTO)))
    if not _MODEL_ID.fullmatch(model):
        raise NotFound("no model has such an id")
    return _shown(await while_there(request, _forward(request, state, caller)))


async def _admitted(request: Request) -> tuple[AppState, Caller]:
    state = state_of(request)
    deadline.start(state.store_wait_s)
    return state, await state.gate.admit(request)


async def _forward(request: Request, state: AppState, caller: Caller, raw: bytes = b"") -> Reply:
    headers = dependencies.forwarded(request.headers)
    call = Call(raw, headers, caller.credential, tenant=caller.tenant.name)
    path, query = request.url.path, request.url.query
    return await state.parts.upstream.forward(request.method, path, query, call)


def _shown(reply: Reply) -> Response:
    headers = {**reply.headers, "x-cache": "bypass", "x-cache-reason": "forwarded"}
    return Response(reply.body, status_code=reply.status, headers=headers)


def _with_auto(body: bytes) -> bytes:
    try:
        page: Any = json_text.loads(body)
    except ValueError:
        return body
    if not isinstance(page, dict) or not isinstance(page.get("data"), list):
        return body
    return json_text.dumps({**page, "data": [_AUTO, *page["data"]]})


ROUTES = (
    PlainRoute("/v1/messages/count_tokens", count_tokens, "POST"),
    PlainRoute("/v1/models", list_all, "GET"),
    PlainRoute("/v1/models/{id:path}", retrieve, "GET"),
)
