"""Bodies in, errors out: one shape for everything that goes wrong, Anthropic's.

Rule: Claude's own errors go back byte for byte; of ours, never more than was meant for a caller.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cacheserver.errors import (
    BadRequest,
    CallerError,
    StoreError,
    TooLarge,
    Unavailable,
    UpstreamError,
)

logger = logging.getLogger(__name__)

_TYPES = {404: "not_found_error", 405: "invalid_request_error", 413: "request_too_large"}


def request_id() -> str:
    return f"req_cache_{secrets.token_hex(12)}"


def install(app: FastAPI) -> None:
    """Let `app` answer every error in the one shape."""
    app.add_exception_handler(CallerError, _caller)
    app.add_exception_handler(UpstreamError, _upstream)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(StoreError, _unavailable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


async def read_body(request: Request, limit: int) -> bytes:
    """The body. Raises `TooLarge` before more than `limit` bytes are held."""
    told = request.headers.get("content-length")
    if told is not None and told.isdecimal() and int(told) > limit:
        raise TooLarge(f"the body has {told} bytes, at most {limit} are taken")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"the body is over {limit} bytes")
    return bytes(body)


def parse(raw: bytes) -> dict[str, Any]:
    """A JSON object, read strictly. Raises `BadRequest`.

    What two readers may take for different things is refused: duplicate keys, NaN and the like,
    numbers beyond a double.
    """
    try:
        found = json.loads(
            raw, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
    except RecursionError:
        raise BadRequest("body", "is nested too deeply") from None
    except UnicodeDecodeError:
        raise BadRequest("body", "is not UTF-8") from None
    except ValueError as error:
        where = f" at byte {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadRequest("body", f"is not valid JSON{where}") from None
    if not isinstance(found, dict):
        raise BadRequest("body", "must be a JSON object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadRequest(key[:64], "is there twice")
            seen.add(key)
    return found


def _no_constant(name: str) -> Any:
    raise BadRequest("body", f"holds {name}, which is not JSON")


def _finite(text: str) -> float:
    if math.isinf(value := float(text)):
        raise BadRequest("body", "holds a number too large to be read")
    return value


def _shaped(
    status: int, type: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    id = request_id()
    return JSONResponse(
        {"type": "error", "error": {"type": type, "message": message}, "request_id": id},
        status,
        {"request-id": id, **(headers or {})},
    )


async def _caller(_: Request, error: Exception) -> Response:
    assert isinstance(error, CallerError)
    return _shaped(error.status, error.type, error.message, error.headers)


async def _upstream(_: Request, error: Exception) -> Response:
    assert isinstance(error, UpstreamError)
    headers = {"content-type": "application/json", "request-id": request_id(), **error.headers}
    return Response(error.body, error.status, headers)


async def _unavailable(_: Request, error: Exception) -> Response:
    logger.warning("503: %s", error)
    return _shaped(503, "api_error", "the store is away; try again shortly", {"retry-after": "1"})


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:]) or "request"
    return _shaped(400, "invalid_request_error", f"`{field}`: {first['msg']}")


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    type = _TYPES.get(error.status_code, "invalid_request_error")
    message = {404: "there is nothing at this path", 405: "this path takes another method"}
    said = message.get(error.status_code, str(error.detail))
    return _shaped(error.status_code, type, said, error.headers)


def _unexpected(error: Exception) -> Response:
    """The last resort. What was raised may quote a prompt, so only its kind and place are told."""
    response = _shaped(500, "api_error", "internal error; the server's log has this request's id")
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
    logger.error("%s: %s at %s", response.headers["request-id"], type(error).__name__, where)
    return response


class Stamp:
    """The outermost layer: gives every response its request id, names a simulated upstream, and
    turns what nobody expected into a 500 that tells nothing.
    """

    def __init__(self, app: ASGIApp, *, simulated: bool) -> None:
        self._app = app
        self._simulated = simulated

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def stamped(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                names = {name for name, _ in message["headers"]}
                if b"request-id" not in names:
                    message["headers"].append((b"request-id", request_id().encode()))
                if self._simulated and b"x-upstream" not in names:
                    message["headers"].append((b"x-upstream", b"simulated"))
            await send(message)

        try:
            await self._app(scope, receive, stamped)
        except Exception as error:  # the task boundary: logged here, and nowhere with its words
            response = _unexpected(error)
            if not started:
                await response(scope, receive, stamped)
