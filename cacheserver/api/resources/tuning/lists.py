"""Parameters and description of lists: `{"items": [...], "next": cursor or null}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Request

from cacheserver.core.errors import BadRequest, Unknown
from cacheserver.core.keyed_digests import NO_CONTENT

_MOST: Final = 200  # items of a page
_LIMIT: Final = 50
_NUMBERS: Final = ("limit", "_min", "_max")  # ends of names

PAGE: Final[Mapping[str, str]] = {
    "limit": f"Items of a page, 1 to {_MOST}.",
    "cursor": "The `next` of the page before.",
}


def given(request: Request, known: Mapping[str, str]) -> dict[str, str]:
    """Return the query parameters. Raises `BadRequest` for one that is not known."""
    found = dict(request.query_params)
    if unknown := found.keys() - known.keys():
        raise Unknown(min(unknown)[:64], "parameter", min(unknown), known)
    return found


def page(given: Mapping[str, str]) -> tuple[int, str | None]:
    """Return page size and cursor. Raises `BadRequest`."""
    limit = given.get("limit", str(_LIMIT))
    if not (limit.isdecimal() and len(limit) < 4 and 1 <= int(limit) <= _MOST):
        raise BadRequest("limit", f"must be 1 to {_MOST}")
    return int(limit), given.get("cursor")


def parameters(names: Mapping[str, str]) -> dict[str, Any]:
    """Return the description of query parameters."""
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": told,
                "schema": {"type": "number" if name.endswith(_NUMBERS) else "string"},
            }
            for name, told in names.items()
        ]
    }


def described(names: Mapping[str, str]) -> dict[str, Any]:
    """Return the description of query parameters, and of the list they give."""
    return {
        **parameters(names),
        "responses": {
            "200": {
                "description": "A page; `next` is null on the last one.",
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["items", "next"],
                            "properties": {
                                "items": {"type": "array", "items": {"type": "object"}},
                                "next": {"type": ["string", "null"]},
                                "withheld": {"const": NO_CONTENT},
                            },
                        },
                        "example": {"items": [], "next": None},
                    }
                },
            }
        },
    }
