"""OpenAPI description at `/openapi.json`: routes, authentication and errors.

FastAPI knows its own routes; those that skip its parsing are described here. Nothing is answered
422: what FastAPI would refuse so is a 400 of ours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from cacheserver.api.json_body import query_parameters
from cacheserver.api.page_session import COOKIE, CSRF_HEADER
from cacheserver.api.route_roles import role_of
from cacheserver.core.features import Feature
from cacheserver.passthrough.rules import OWNED
from cacheserver.tenants.admin_keys import Role

_OPEN = frozenset({"/healthz", "/readyz", "/admin/session"})
_ADMIN = ("/admin", "/metrics")
_KEYS: list[dict[str, list[str]]] = [{"key": []}, {"bearer": []}]
_ADMIN_KEYS: list[dict[str, list[str]]] = [
    {"adminKey": []},
    {"adminBearer": []},
    {"adminSession": []},
]

_MEANING = {
    "400": "Malformed, or a field that is missing or wrong; the message names it",
    "401": "No key, or a wrong one",
    "402": "A budget is used up",
    "403": "Another host or a foreign origin; for `/admin`, no admin key, or a lesser role",
    "404": "Not there, or another tenant's; under `only-if-cached`, nothing to serve",
    "408": "The body took too long",
    "409": "Not in this state",
    "413": "Larger than `CACHESERVER_MAX_BODY_BYTES`",
    "415": "An encoding of the body that is not read",
    "429": "A limit of the tenant or the key is reached, or Claude's own",
    "431": "The headers are larger, or more, than is read here",
    "502": "The connection to Claude failed or was lost",
    "503": "The store is away, or Claude has been failing: try again after `retry-after`",
    "504": "Claude did not answer in time",
    "507": "The server's disk has too little room for the upload",
    "508": "The request has been through a cacheserver already",
    "529": "Too many calls wait for Claude, or Claude is overloaded",
}
_ANYWHERE = ("400", "401", "403", "429", "431", "503", "508")
_WITH_BODY = ("408", "413", "415")
_IN_A_STATE = (
    "/admin/v1/alerts/acknowledge",
    "/admin/v1/audits",
    "/admin/v1/labels",
    "/admin/v1/sample-traffic",
)
_OF_CLAUDE = ("402", "404", "413", "500", "502", "504", "529")
_ASKS_CLAUDE = (
    *("/v1/messages", "/v1/messages/count_tokens", "/v1/models", "/v1/models/{id}"),
    *("/v1/query", "/v1/jobs", "/v1/messages/batches"),
)

_ERROR = {
    "type": "object",
    "required": ["type", "error", "request_id"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        },
        "request_id": {"type": ["string", "null"]},
    },
}
_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"type": "object"}}},
}
_UPLOAD = {
    "required": True,
    "content": {"multipart/form-data": {"schema": {"type": "object"}}},
}
_UPLOADED = ("/v1/files", "/v1/skills")
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_BATCH = "/v1/messages/batches"
_BATCH_PAGE: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 1_000, "default": 20},
    "after_id": {"type": "string"},
    "before_id": {"type": "string"},
}

# Path, method, summary.
_PLAIN = (
    ("/v1/messages", "post", "Anthropic's Messages API, through the cache"),
    ("/v1/messages/count_tokens", "post", "Count a prompt's tokens; passed on"),
    ("/v1/models", "get", "Claude's models; passed on"),
    ("/v1/models/{id}", "get", "One of Claude's models; passed on"),
    (_BATCH, "post", "Take a batch; each item goes through the cache"),
    (_BATCH, "get", "Your batches, the newest first"),
    (f"{_BATCH}/{{id}}", "get", "How far a batch is"),
    (f"{_BATCH}/{{id}}", "delete", "Forget a batch that has ended"),
    (f"{_BATCH}/{{id}}/cancel", "post", "Answer no more of a batch"),
    (f"{_BATCH}/{{id}}/results", "get", "A batch's results, a line each"),
)
# What a tenant keeps at Anthropic; what comes after an id differs by kind, and is passed on.
_KEPT = tuple(
    (f"/v1/{kind}{end}", method, f"{summary} `{kind}`; passed on")
    for kind in sorted(OWNED)
    for end, method, summary in (
        ("", "get", "List your"),
        ("", "post", "Create one of"),
        ("/{id}", "get", "One of your"),
        ("/{id}", "post", "Change one of your"),
        ("/{id}", "delete", "Delete one of your"),
        ("/{id}/{part}", "get", "A part of one of your"),
        ("/{id}/{part}", "post", "Do something with one of your"),
    )
)
_PART = {"name": "part", "in": "path", "required": True, "schema": {"type": "string"}}
_CONTENT: dict[str, tuple[str, ...]] = {
    "/metrics": ("text/plain",),
    "/admin/v1/live": ("text/event-stream",),
    "/v1/jobs/{id}/events": ("text/event-stream",),
    "/v1/messages": ("application/json", "text/event-stream"),
    "/v1/query": ("application/json", "text/event-stream"),
    "/v1/usage/export": ("text/csv", "application/x-ndjson", "application/vnd.apache.parquet"),
    "/admin/v1/audits/{id}/page": ("text/html",),
    "/admin/v1/labels/export": ("application/x-ndjson",),
    f"{_BATCH}/{{id}}/results": ("application/x-jsonl",),
}


def install(app: FastAPI, handlers: Iterable[Route] = (), *, off: Collection[Feature] = ()) -> None:
    """Serve the whole description instead of FastAPI's. `handlers` are asked for their roles."""
    of_fastapi = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = complete(of_fastapi(), _roles(handlers), off=off)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's manual has it


def _roles(handlers: Iterable[Route]) -> dict[tuple[str, str], Role]:
    """Return the role that each admin route needs, by path and method in lower case."""
    return {
        (route.path, method.lower()): role
        for route in handlers
        if route.path.startswith(_ADMIN)
        for method in route.methods or ()
        if (role := role_of(route.endpoint, method, route.path)) is not None
    }


def complete(
    schema: dict[str, Any],
    needed: Mapping[tuple[str, str], Role] = MappingProxyType({}),
    *,
    off: Collection[Feature] = (),
) -> dict[str, Any]:
    """Complete FastAPI's description: add what it cannot infer, remove what never happens.

    `needed` are the roles of admin routes: each stands in `x-required-role`, and in the text.
    """
    for path, method, summary in (*_PLAIN, *(() if "passthrough" in off else _KEPT)):
        schema["paths"].setdefault(path, {})[method] = _described(path, method, summary)
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            operation["responses"].pop("422", None)
            if path in _CONTENT:
                ok = operation["responses"]["200"]
                ok["content"] = {kind: {} for kind in _CONTENT[path]}
            for status in _errors(path, method, operation):
                operation["responses"].setdefault(status, _response(status))
            operation["security"] = _security(path)
            if (role := needed.get((path, method))) is not None:
                operation["x-required-role"] = role
                told = operation.get("description", "")
                operation["description"] = f"{told}\n\nNeeds the role `{role}`.".strip()
    parts = schema.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Error"] = _ERROR
    parts["securitySchemes"] = dict(_schemes())
    return schema


def _security(path: str) -> list[dict[str, list[str]]]:
    if path in _OPEN:
        return []
    return _ADMIN_KEYS if path.startswith(_ADMIN) else _KEYS


def _described(path: str, method: str, summary: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "tags": ["messages"],
        "summary": summary,
        "responses": {"200": {"description": "As Anthropic's API answers"}},
    }
    if "{id}" in path:
        described["parameters"] = [_ID, _PART] if "{part}" in path else [_ID]
    elif (path, method) == (_BATCH, "get"):
        described.update(query_parameters(_BATCH_PAGE))
    if method == "post" and not path.endswith("/cancel"):
        described["requestBody"] = _UPLOAD if path in _UPLOADED else _BODY
    return described


def _errors(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    if path in _OPEN:
        if path == "/readyz":
            yield from ("400", "503")
        elif path == "/admin/session":
            yield "503"
            if method == "post":
                yield from ("400", "401", "403", "429", *_WITH_BODY)
        return
    yield from _ANYWHERE
    if method != "get":
        yield from _WITH_BODY
    if "{" in path or path == "/v1/feedback" or path.startswith(_IN_A_STATE):
        yield "404"
        yield "409"
    if path == "/admin/v1/audits" and method == "post":
        yield "507"
    if path in _ASKS_CLAUDE or any(path == kept for kept, _, _ in _KEPT):
        yield from _OF_CLAUDE


def _response(status: str) -> dict[str, Any]:
    shown = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": _MEANING.get(status, "Claude's own error"), "content": shown}


def _schemes() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, whose in (("", "A key of the tenant"), ("admin", "An admin key")):
        header = {"type": "apiKey", "in": "header", "name": "x-api-key", "description": whose}
        yield f"{name}Key" if name else "key", header
        bearer = {"type": "http", "scheme": "bearer", "description": whose}
        yield f"{name}Bearer" if name else "bearer", bearer
    yield (
        "adminSession",
        {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE,
            "description": f"The admin page's session; changes need its token in `{CSRF_HEADER}`",
        },
    )
