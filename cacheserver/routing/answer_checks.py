"""Checks on an answer: is it complete, no refusal, and of the shape asked for? Pure.

Rule: only what can be told without understanding the answer. A flaw costs a second call, so what
cannot be told is no flaw.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cacheserver.core.answer_check import parse_json
from cacheserver.core.rules.validation import Check, ValidationRules
from cacheserver.routing import json_schema

_CUT: Final = frozenset({"max_tokens", "model_context_window_exceeded"})
# After these there is a text to look at.
_COMPLETE: Final = frozenset({"end_turn", "stop_sequence"})


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
        value = parse_json(text)
    except (ValueError, RecursionError):
        return "not-json"
    return None if json_schema.fits(value, check.schema or {}) else "schema"


def requested_schema(body: Mapping[str, Any]) -> Check | None:
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
