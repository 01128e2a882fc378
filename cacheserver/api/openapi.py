"""The OpenAPI description: every route, how callers are let in, and the errors there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

_ERRORS = {
    "400": "Something is wrong with the request; the message names the field",
    "401": "No key, or one that is not known",
    "403": "Not from there, or no admin key is set",
    "404": "There is no such thing of yours",
    "408": "The headers or the body took too long",
    "413": "The body is larger than is read here",
    "415": "The body is packed in another way than gzip",
    "429": "Too many at once; see `retry-after`",
    "431": "The headers are larger than is read here",
    "503": "The store is away, or too many connections are open; see `retry-after`",
}
_OPEN = ("/healthz", "/readyz")  # to whoever asks
_SHAPE = {
    "type": "object",
    "required": ["type", "error", "request_id"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        },
        "request_id": {"type": "string"},
    },
}
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key: `cs_...`"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "admin": {"type": "http", "scheme": "bearer", "description": "`CACHESERVER_ADMIN_KEY`"},
}


def install(app: FastAPI) -> None:
    """Have `app` describe what FastAPI knows of it, and what it does not."""
    known = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(known(), list(_plain(app)))
        found = app.openapi_schema
        assert found is not None  # `known` keeps what it returns
        return found

    app.openapi = described  # type: ignore[method-assign]


def _plain(app: FastAPI) -> Iterator[tuple[str, str, str]]:
    """Path, method and summary of the routes that skip FastAPI's parsing."""
    for route in app.router.routes:
        if type(route).__module__ == "cacheserver.api.plainroute" and isinstance(route, Route):
            said = (route.endpoint.__doc__ or "").strip().splitlines()
            for method in sorted((route.methods or set()) - {"HEAD"}):
                path = re.sub(r":path\}", "}", route.path)
                yield path, method.lower(), said[0] if said else path


def _complete(found: dict[str, Any], plain: list[tuple[str, str, str]]) -> None:
    paths = found["paths"]
    for path, method, summary in plain:
        about: dict[str, Any] = {
            "summary": summary,
            "tags": ["messages"],
            "responses": {"200": {"description": "As Anthropic's"}},
        }
        if names := re.findall(r"\{(\w+)\}", path):
            about["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in names
            ]
        if method == "post":
            shape = {"application/json": {"schema": {"type": "object"}}}
            about["requestBody"] = {"required": True, "content": shape}
        paths.setdefault(path, {})[method] = about
    components = found.setdefault("components", {})
    components["securitySchemes"] = _SCHEMES
    schemas = components.setdefault("schemas", {})
    schemas["Error"] = _SHAPE
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's: ours are all `Error`
        schemas.pop(unused, None)
    for path, methods in paths.items():
        for method, about in methods.items():
            about["security"] = _security(path)
            about["responses"].pop("422", None)
            about["responses"].update(_errors(path, method, about))


def _security(path: str) -> list[dict[str, list[str]]]:
    if path in _OPEN:
        return []
    if path.startswith("/admin") or path == "/metrics":
        return [{"admin": []}]
    return [{"bearer": []}, {"x-api-key": []}]


def _errors(path: str, method: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """The errors that this route has, and no others."""
    no_body = {"408", "413", "415"} if "requestBody" not in about and method == "get" else set()
    nobody = {"400", "401", "403", "404", "429"} if path in _OPEN else set()
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        status: {"description": said, "content": content}
        for status, said in _ERRORS.items()
        if status not in no_body | nobody and status not in about["responses"]
    }
