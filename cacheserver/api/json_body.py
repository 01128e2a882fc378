"""Description of a request's JSON body for OpenAPI, where a route reads the body itself."""

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
