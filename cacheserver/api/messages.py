"""`/v1/messages` and its neighbours: the Anthropic API, drop-in.

Plain Starlette routes: the hot path skips FastAPI's parsing. The body is not modelled here; what
we do not know reaches Claude as it came.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cacheserver import sse
from cacheserver.answer import Answer
from cacheserver.api import deps, errors
from cacheserver.api.edge import edge_of
from cacheserver.policy import fingerprint
from cacheserver.policy.controls import read_controls
from cacheserver.upstream import Call


async def create(request: Request) -> Response:
    """Answer one Messages request, streamed or not."""
    edge = edge_of(request)
    caller = await edge.gate.admit(request)
    raw = await errors.read_body(request, edge.max_body_bytes)
    query = fingerprint.read(
        errors.parse(raw),
        raw,
        headers=deps.forwarded(request.headers),
        tenant=caller.tenant,
        controls=read_controls(request.headers),
        upstream=edge.parts.upstream.identity,
        embedder=edge.parts.embedder_id,
        credential=caller.credential,
    )
    return respond(await edge.parts.service.answer(query))


def respond(answer: Answer) -> Response:
    """An answer as a response: the message, or its events."""
    if answer.events is not None:
        return StreamingResponse(
            answer.events, media_type=sse.MEDIA_TYPE, headers=dict(answer.headers)
        )
    return Response(answer.body, media_type="application/json", headers=dict(answer.headers))


async def forward(request: Request) -> Response:
    """Pass `count_tokens` and `models` on to Claude; whatever comes back goes back."""
    edge = edge_of(request)
    caller = await edge.gate.admit(request)
    raw = await errors.read_body(request, edge.max_body_bytes)
    call = Call(raw, deps.forwarded(request.headers), caller.credential)
    reply = await edge.parts.upstream.forward(
        request.method, request.url.path, request.url.query, call
    )
    return Response(reply.body, status_code=reply.status, headers=dict(reply.headers))
