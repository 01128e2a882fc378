"""Errors as responses, in Anthropic's shape, each with a request id.

Rule: a caller reads what they did wrong, or what Claude said, and of a failure of ours only that
there was one. The log has its kind and place, never a message: that may hold what somebody asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cacheserver.api.admin_access import AdminAccess, Admins
from cacheserver.api.body import parse, read_body
from cacheserver.api.boundary import Boundary
from cacheserver.api.dependencies import Gate
from cacheserver.api.hot_routes import HotRoutes
from cacheserver.api.slowdown import Slowdown, WrongKey
from cacheserver.core import json_text
from cacheserver.core.errors import (
    BadRequest,
    CacheServerError,
    CallerError,
    KeyLost,
    NotReplicated,
    RateLimited,
    StoreError,
    Unavailable,
    UpstreamError,
)
from cacheserver.core.request_context import Observer

__all__ = ["install", "parse", "read_body", "shape"]

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

# Errors that are answered with what they say; all others are ours to look into (`Boundary`).
_ANSWERED = (CacheServerError, HTTPException, RequestValidationError)

# The body was decoded and is sent anew, on a connection of our own.
_NOT_PASSED_ON = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding"}
    | {"date", "server", "set-cookie", "trailer", "upgrade"}
)


def install(
    app: FastAPI,
    *,
    slowdown: Slowdown | None = None,
    failed: Callable[[int], None] = lambda status: None,
    observers: Sequence[Observer] = (),
    hot: Sequence[Route] = (),
    admins: Admins | None = None,
    gate: Gate | None = None,
) -> None:
    """Turn every error of `app` into a response of ours.

    Those of wrong keys are held up by `slowdown`. `failed` is told the status of each that the
    cache did not see, to be counted; `observers` are told of every request. `hot` are routes that
    are answered before the framework is entered, their errors as all others. `admins` have their
    keys looked up and their changes recorded. `gate`: who it does not let in learns nothing of what
    else is wrong with a request.
    """

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, RequestValidationError) and gate is not None:
            # Found before the handler asked for a key.
            error = await _refusal(gate, request) or error
        if isinstance(error, WrongKey) and slowdown is not None:
            try:
                await slowdown.hold(error.network, error.delay_s)
            except RateLimited as too_many:
                error = too_many
        response = _response(request, error)
        if "x-cache" not in (getattr(error, "headers", None) or {}):  # else counted on the path
            failed(response.status_code)
        return response

    for kind in _ANSWERED:
        app.add_exception_handler(kind, answer)
    if admins is not None:
        app.add_middleware(AdminAccess, admins=admins, respond=answer)
    app.add_middleware(HotRoutes, routes=hot, errors=_ANSWERED, respond=answer)
    app.add_middleware(Boundary, failed=failed, respond=_response, observers=observers)


def shape(
    type: str,
    message: str,
    request_id: str,
    field: str | None = None,
    details: Sequence[BadRequest] = (),
) -> bytes:
    """Return an error in Anthropic's JSON shape; `field` is the part of the request at fault.

    `details` are the errors of all parts at fault, if there are several.
    """
    error: dict[str, Any] = {"type": type, "message": message}
    if field is not None:
        error["field"] = field
    if details:
        error["details"] = [{"field": one.field, "message": one.message} for one in details]
    return json_text.dumps({"type": "error", "error": error, "request_id": request_id})


def _response(request: Request, error: Exception) -> Response:
    """Return an error's response in Anthropic's shape; `UpstreamError` is passed on unchanged."""
    headers: Mapping[str, str] = {}
    field, details = None, tuple[BadRequest, ...]()
    if isinstance(error, BadRequest):
        field = error.field
        details = (error, *error.others) if error.others else ()
    match error:
        case UpstreamError():
            headers = {n: v for n, v in error.headers.items() if n.lower() not in _NOT_PASSED_ON}
            body = error.body
            if error.worded is not None:
                # Where something of Claude's came all the same, the id is Claude's.
                body = shape(*error.worded, headers.get("request-id") or _id_of(request))
            return Response(body, error.status, headers)
        case CallerError():
            status, kind, message, headers = error.status, error.type, error.message, error.headers
        case RequestValidationError():
            wrong = _first(error)
            status, kind, message, field = wrong.status, wrong.type, wrong.message, wrong.field
        case HTTPException():
            status, message, headers = (
                error.status_code,
                _about(request, error),
                error.headers or {},
            )
            kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        case KeyLost():
            status, kind = 503, "api_error"
            message = (
                "this tenant's settings are sealed with a key that is not here, or damaged; put "
                "them anew, `no_content` among them"
            )
        case NotReplicated():
            status, kind, message = 503, "api_error", str(error)
            headers = {"retry-after": "1"}
        case Unavailable() | StoreError():
            status, kind, message = 503, "api_error", "the store is away; try again shortly"
            headers = {"retry-after": "1"}
        case _:
            status, kind, message = 500, "api_error", "internal error"
    if status == 401:
        headers = {"www-authenticate": "Bearer", **headers}
    if request.scope["path"].startswith("/v1/"):
        # Refused before the cache was looked at; what got further says so itself.
        headers = {"x-cache": "bypass", "x-cache-reason": "refused", **headers}
    body = shape(kind, message, _id_of(request), field, details)
    return Response(body, status, headers, media_type="application/json")


async def _refusal(gate: Gate, request: Request) -> CacheServerError | None:
    """Return why the sender of a request is not let in; None if they are."""
    try:
        if request.scope["path"].startswith("/admin/"):
            gate.admit_admin(request)
        else:
            await gate.admit(request)
    except CacheServerError as error:
        return error
    return None


def _id_of(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


def _about(request: Request, error: HTTPException) -> str:
    """Return the message for an unknown route or method."""
    match error.status_code:
        case 404 if error.detail == "Not Found":
            return "there is no such route; `/docs` lists those there are"
        case 405:
            return f"this route does not take {request.method}"
    return error.detail


def _first(error: RequestValidationError) -> BadRequest:
    """Return the first validation error with its field, without the value."""
    first: Mapping[str, Any] = error.errors()[0]
    where = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    if first["type"] == "json_invalid":
        return BadRequest("body", "is not valid JSON")
    return BadRequest(".".join(where) or "body", str(first["msg"]).removeprefix("Value error, "))
