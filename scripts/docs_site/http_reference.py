"""Reference of all routes, from the OpenAPI description that the server gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI

from cacheserver.api import openapi, routes

_METHODS = ("get", "post", "put", "patch", "delete")
_HEAD = """# All routes

Made from the server's OpenAPI description, which a running server has at `/openapi.json` and shows
at `/docs`. What the routes are for, with examples, is told by [the API](api.md) and by the page of
each capability. Errors have [one shape](api.md#errors).
"""


def description() -> dict[str, Any]:
    """Return the OpenAPI description, without a running server."""
    app = FastAPI(title="cacheserver")
    routes.install(app, frozenset())
    openapi.install(app, [route for one in routes.RESOURCES for route in one.routes])
    return app.openapi()


def page() -> str:
    """Return the reference as Markdown."""
    described = description()
    groups: dict[str, list[str]] = {}
    for path, methods in described["paths"].items():
        for method in _METHODS:
            if (route := methods.get(method)) is not None:
                text = "\n".join(_route(method, path, route, described))
                groups.setdefault(_group(path), []).append(text)
    parts = [_HEAD]
    for name, texts in sorted(groups.items()):
        parts += [f"\n## {name}\n", *texts]
    return "\n".join(parts)


def _group(path: str) -> str:
    """Name the part of the API that a path belongs to: its first words without ids."""
    words = path.strip("/").split("/")
    if words[:2] == ["admin", "v1"]:
        return f"/admin/v1/{words[2]}"
    return f"/v1/{words[1]}" if words[0] == "v1" else "Server"


def _route(
    method: str, path: str, route: Mapping[str, Any], described: Mapping[str, Any]
) -> Iterator[str]:
    yield f"### {method.upper()} {path}\n"
    yield f"{route.get('description') or route.get('summary', '')}\n"
    if rows := list(_parameters(route, described)):
        yield "| parameter | in | type | |\n|---|---|---|---|"
        yield "\n".join(rows) + "\n"
    body = route.get("requestBody", {}).get("content", {}).get("application/json", {})
    if rows := list(_fields(body.get("schema", {}), described)):
        yield "| field of the body | type | |\n|---|---|---|"
        yield "\n".join(rows) + "\n"
    example = body.get("example") or next(
        (one.get("value") for one in body.get("examples", {}).values()), None
    )
    if example is not None:
        yield f"```json\n{json.dumps(example, ensure_ascii=False, indent=2)}\n```\n"


def _parameters(route: Mapping[str, Any], described: Mapping[str, Any]) -> Iterator[str]:
    for one in route.get("parameters", ()):
        one = _resolved(one, described)
        kind = _type(_resolved(one.get("schema", {}), described), described)
        told = _line(one.get("description") or one.get("schema", {}).get("description"))
        yield f"| `{one['name']}` | {one['in']} | {kind} | {told} |"


def _fields(schema: Mapping[str, Any], described: Mapping[str, Any]) -> Iterator[str]:
    schema = _resolved(schema, described)
    needed = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        told = _line(_resolved(field, described).get("description"))
        must = "required. " if name in needed else ""
        yield f"| `{name}` | {_type(field, described)} | {must}{told} |"


def _resolved(schema: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        found: Any = described
        for word in schema["$ref"].removeprefix("#/").split("/"):
            found = found[word]
        schema = found
    return schema


def _type(schema: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    schema = _resolved(schema, described)
    if (choices := schema.get("anyOf") or schema.get("oneOf")) is not None:
        kinds = dict.fromkeys(_type(one, described) for one in choices)
        return " or ".join(kinds)
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}), described)}"
    kind = schema.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _line(text: str | None) -> str:
    return "" if text is None else " ".join(text.split()).replace("|", "\\|")
