"""Descriptions for OpenAPI of what a route reads by itself: its JSON body, its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def json_body(
    properties: Mapping[str, Any],
    examples: Mapping[str, Any],
    *,
    required: Sequence[str] = (),
    optional: bool = False,
) -> dict[str, Any]:
    """Return the `openapi_extra` of a route: `examples` are bodies by what each is.

    `required` are fields that must be there; `optional`: the body itself may be left out.
    """
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": dict(properties),
    }
    if required:
        schema["required"] = list(required)
    shown = {name: {"value": value} for name, value in examples.items()}
    content = {"application/json": {"schema": schema, "examples": shown}}
    return {"requestBody": {"required": not optional, "content": content}}


def query_parameters(schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return `openapi_extra` for query parameters with these schemas; none of them is required."""
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in sorted(schemas.items())
        ]
    }
