"""`/v1/messages`: a drop-in for the Anthropic API.

A plain Starlette route: the hot path skips FastAPI's parsing. The body is not modelled here; what
we do not know reaches Claude as it came.
"""

from __future__ import annotations

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
from cacheserver.core.types import Query
from cacheserver.storage import deadline


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


ROUTES = (PlainRoute("/v1/messages", create, "POST"),)
