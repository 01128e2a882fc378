"""`/v1/messages` and Claude's other routes: a drop-in for the Anthropic API.

Plain Starlette routes: the hot path skips FastAPI's parsing. The body is not modelled here; what
we do not know reaches Claude as it came.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cacheserver.api import dependencies, errors
from cacheserver.api.disconnects import while_there
from cacheserver.api.plain_route import PlainRoute
from cacheserver.api.state import state_of
from cacheserver.cache import fingerprint
from cacheserver.cache.answer import Answer
from cacheserver.cache.controls import read_controls
from cacheserver.claude import sse
from cacheserver.claude.upstream import Call
from cacheserver.core.errors import NotFound
from cacheserver.core.types import Query
from cacheserver.storage import deadline

# A segment that begins so is never `..`: with the server's key, `GET /v1/models/../files` would
# read whatever the account holds, and everybody's batches with it.
_SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._:@-]*"
_MODEL_ID = re.compile(f"{_SEGMENT}(/{_SEGMENT})*")


async def create(request: Request) -> Response:
    """Answer one Messages request, streamed or not."""
    state = state_of(request)
    deadline.start(state.store_wait_s)
    caller = await state.gate.admit(request)
    raw = await errors.read_body(request, state.max_body_bytes)

    def read() -> Query:
        return fingerprint.read(
            errors.parse(raw),
            raw,
            headers=dependencies.forwarded(request.headers),
            tenant=caller.tenant,
            controls=read_controls(request.headers),
            upstream=state.parts.upstream.identity,
            language=state.parts.language,
            credential=caller.credential,
            key_id=caller.key_id,
        )

    query = state.recent.get(request.scope, raw, caller)
    if query is None:
        query = await state.heavy.do(len(raw), read)
        state.recent.keep(request.scope, raw, caller, query)
    return respond(await while_there(request, state.parts.service.answer(query)))


def respond(answer: Answer) -> Response:
    """Build the response of an answer: the message, or its events."""
    if answer.events is not None:
        # Or nginx keeps events until it has a buffer full of them.
        headers = {**answer.headers, "x-accel-buffering": "no"}
        return StreamingResponse(answer.events, media_type=sse.MEDIA_TYPE, headers=headers)
    return Response(answer.body, media_type="application/json", headers=dict(answer.headers))


async def forward(request: Request) -> Response:
    """Pass `count_tokens` and `models` on to Claude, and its response back."""
    state = state_of(request)
    deadline.start(state.store_wait_s)
    caller = await state.gate.admit(request)
    raw = await errors.read_body(request, state.max_body_bytes)
    model = request.path_params.get("id")
    if model is not None and not _MODEL_ID.fullmatch(model):
        raise NotFound("no model has such an id")
    call = Call(
        raw, dependencies.forwarded(request.headers), caller.credential, tenant=caller.tenant.name
    )
    path, query = request.url.path, request.url.query
    call_to_claude = state.parts.upstream.forward(request.method, path, query, call)
    reply = await while_there(request, call_to_claude)
    headers = {**reply.headers, "x-cache": "bypass", "x-cache-reason": "forwarded"}
    return Response(reply.body, status_code=reply.status, headers=headers)


ROUTES = (
    PlainRoute("/v1/messages", create, "POST"),
    PlainRoute("/v1/messages/count_tokens", forward, "POST"),
    PlainRoute("/v1/models", forward, "GET"),
    PlainRoute("/v1/models/{id:path}", forward, "GET"),
)
