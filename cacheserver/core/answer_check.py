"""Check of an answer, as a caller writes it in a request. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.validation import Check

_MOST_WORDS: Final = 100  # the bounds of `core.rules.validation`, for what callers write
_MOST_CHARS: Final = 1_000
_MOST_LENGTH: Final = 10_000_000
_SCHEMA_BYTES: Final = 65_536  # it is stored with each decision; usual ones have 1 to 10 kB
_SCHEMA_DEPTH: Final = 64  # as deep as `jsonschema` looks


def read_check(field: str, given: object) -> Check:
    """Read a check from a JSON object or its text. Raises `BadRequest`."""
    if isinstance(given, str):
        try:
            given = parse_json(given)
        except (ValueError, RecursionError):
            raise BadRequest(field, "must be a JSON object") from None
    if not isinstance(given, Mapping):
        raise BadRequest(field, "must be a JSON object")
    names = {one.name for one in fields(Check)}
    if unknown := given.keys() - names:
        there = ", ".join(f"`{name}`" for name in sorted(names))
        raise BadRequest(field, f"has no `{min(map(str, unknown))[:64]}`; there are {there}")
    return Check(
        json=_flag(f"{field}.json", given.get("json", False)),
        schema=_schema(f"{field}.schema", given.get("schema")),
        one_of=_words(f"{field}.one_of", given.get("one_of", ())),
        contains=_words(f"{field}.contains", given.get("contains", ())),
        lacks=_words(f"{field}.lacks", given.get("lacks", ())),
        min_chars=_length(f"{field}.min_chars", given.get("min_chars", 0)) or 0,
        max_chars=_length(f"{field}.max_chars", given.get("max_chars")),
    )


def _flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(field, "must be true or false")
    return value


def _schema(field: str, value: object) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise BadRequest(field, "must be a JSON schema: an object")
    if value is None:
        return None
    if _is_deeper(value, _SCHEMA_DEPTH):
        raise BadRequest(field, f"is nested more than {_SCHEMA_DEPTH} levels deep")
    if len(json_text.dumps(value)) > _SCHEMA_BYTES:
        raise BadRequest(field, f"is larger than {_SCHEMA_BYTES} bytes")
    return value


def _words(field: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) > _MOST_WORDS:
        raise BadRequest(field, f"must be a list of at most {_MOST_WORDS} texts")
    for one in value:
        if not isinstance(one, str) or not 1 <= len(one) <= _MOST_CHARS:
            raise BadRequest(field, f"must hold texts of 1 to {_MOST_CHARS} characters")
    return tuple(value)


def _length(field: str, value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_LENGTH:
        raise BadRequest(field, f"must be a whole number, 0 to {_MOST_LENGTH}")
    return value


def parse_json(text: str) -> object:
    """Parse JSON without Python's NaN and Infinity. Raises `ValueError`, `RecursionError`."""
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _is_deeper(value: object, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True
