"""Requests of Helicone: its export, and the pages of `POST /v1/request/query`.

Fields are those of `HeliconeRequest` in its API reference. Bodies are there where they were asked
for (`includeInputs`, or an export with bodies); what was sent through its gateway is in OpenAI's
shape, through its proxy in Anthropic's. `prompt_tokens` counts the uncached rest alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cacheserver.analysis.audit.formats import openai
from cacheserver.analysis.audit.formats.fields import (
    count,
    listed,
    mapped,
    model_among,
    nanodollars,
    part,
    status_of,
    time_of,
    word,
)
from cacheserver.analysis.replay.call import Call
from cacheserver.core.types import Usage
from cacheserver.core.usage import usage_of

_PURPOSES: Final = ("Purpose", "Task", "Feature", "Helicone-Session-Name", "Helicone-Prompt-Id")
_NONE: Final = "00000000-0000-0000-0000-000000000000"


def fits(record: Mapping[str, Any]) -> bool:
    """Return whether a record has this format."""
    return "request_created_at" in record and (
        "request_properties" in record or "response_status" in record or "request_model" in record
    )


def call_of(record: Mapping[str, Any], source: str) -> Call | str:
    """Return the call, or the reason for leaving the record out."""
    request = mapped(record.get("request_body")) or {}
    names = (record.get("response_model"), record.get("request_model"), request.get("model"))
    model = model_among(*names)
    if model is None:
        return f"model:{next((str(name) for name in names if name), '')[:60]}"
    at = time_of(record.get("request_created_at"))
    if at is None:
        return "no time"
    properties = mapped(record.get("request_properties")) or mapped(record.get("properties")) or {}
    answer = mapped(record.get("response_body")) or {}
    message = answer if isinstance(answer.get("content"), list) else openai.message_of(answer)
    cost = record.get("costUSD", record.get("cost"))
    return Call(
        at=at,
        model=model,
        usage=_usage(record, answer),
        body=_body(request, answer, model),
        message=message,
        tenant=word(record, "request_user_id", "helicone_user") or "default",
        purpose=word(properties, *_PURPOSES) or word(record, "prompt_id"),
        cost=None if cost in (None, "") else nanodollars(cost),
        status=status_of(record.get("response_status")) or 200,
        hit=str(record.get("cache_reference_id") or _NONE) != _NONE,
        stream=request.get("stream") is True,
        source=source,
    )


def _usage(record: Mapping[str, Any], answer: Mapping[str, Any]) -> Usage:
    logged = part(answer, "usage")
    if logged is not None and "input_tokens" in logged:
        return usage_of(answer)
    return Usage(
        input_tokens=count(record.get("prompt_tokens")),
        output_tokens=count(record.get("completion_tokens")),
        cache_write_5m_tokens=count(record.get("prompt_cache_write_tokens")),
        cache_read_tokens=count(record.get("prompt_cache_read_tokens")),
    )


def _body(
    request: Mapping[str, Any], answer: Mapping[str, Any], model: str
) -> Mapping[str, Any] | None:
    turns = listed(request.get("messages"))
    if not turns:
        return None
    roles = {turn.get("role") for turn in turns if isinstance(turn, Mapping)}
    if "choices" in answer or roles & {"system", "developer", "tool"}:
        return openai.body_of(request, turns, model)
    return {**request, "messages": turns, "model": model}
