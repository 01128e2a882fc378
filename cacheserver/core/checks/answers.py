"""Checks on an answer: is it complete, no refusal, and of the shape asked for? Pure.

Rule: only what can be told without understanding the answer. A flaw costs a second call, so what
cannot be told is no flaw.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from cacheserver.core import json_text
from cacheserver.core.checks import json_schema
from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.validation import Check, ValidationRules

_CUT: Final = frozenset({"max_tokens", "model_context_window_exceeded"})
# After these there is a text to look at.
_COMPLETE: Final = frozenset({"end_turn", "stop_sequence"})

_MOST_WORDS: Final = 100  # the bounds of `core.rules.validation`, for what callers write
_MOST_CHARS: Final = 1_000
_MOST_LENGTH: Final = 10_000_000
_SCHEMA_BYTES: Final = 65_536  # it is kept with each decision; people's have 1 to 10 kB
_SCHEMA_DEPTH: Final = 64  # as deep as `jsonschema` looks


def cut_or_refused(message: Mapping[str, Any], rules: ValidationRules) -> str | None:
    """Return why an answer is incomplete, if the rules reject incomplete ones."""
    stop = message.get("stop_reason")
    if rules.refusals and stop == "refusal":
        return "refused"
    if rules.truncation and stop in _CUT:
        return "truncated"
    return None


def flaw(message: Mapping[str, Any], check: Check) -> str | None:
    """Return the condition that an answer fails; None if it fails none, or has not ended yet."""
    if message.get("stop_reason") not in _COMPLETE:
        return None
    text = text_of(message)
    words = text.strip().casefold()
    if len(text) < check.min_chars or (check.max_chars is not None and len(text) > check.max_chars):
        return "length"
    if check.one_of and all(words != one.strip().casefold() for one in check.one_of):
        return "one-of"
    if any(one.casefold() not in words for one in check.contains):
        return "contains"
    if any(one.casefold() in words for one in check.lacks):
        return "lacks"
    if not check.json and check.schema is None:
        return None
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return "not-json"
    return None if json_schema.fits(value, check.schema or {}) else "schema"


def _no_number(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def asked_schema(body: Mapping[str, Any]) -> Check | None:
    """Return the checks that a request's own `output_config.format` implies."""
    config = body.get("output_config")
    form = config.get("format") if isinstance(config, Mapping) else None
    if not isinstance(form, Mapping) or form.get("type") != "json_schema":
        return None
    schema = form.get("schema")
    return Check(json=True, schema=dict(schema) if isinstance(schema, Mapping) else None)


def text_of(message: Mapping[str, Any]) -> str:
    """Return a message's text."""
    blocks = message.get("content")
    found = blocks if isinstance(blocks, list) else []
    return "".join(
        str(b.get("text", "")) for b in found if isinstance(b, Mapping) and b.get("type") == "text"
    )


def read(field: str, given: object) -> Check:
    """A check as callers write it: a JSON object, or its text. Raises `BadRequest`."""
    if isinstance(given, str):
        try:
            given = json.loads(given, parse_constant=_no_number)
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
    if json_schema.deep(value, _SCHEMA_DEPTH):
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
