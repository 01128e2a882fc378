"""JSONL of Messages requests and answers, written by an application or a proxy.

A line is an object with the body under `request`, `body`, `params` or `request_body`, and the
answer under `response`, `message`, `completion` or `response_body` (a whole message, or an answer
of the Batches API with its `result`). Its time is `timestamp`, `created_at`, `time`, `start_time`
or `request_created_at`; who asked is `tenant`, `organization`, `customer` or `user_id`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cacheserver.analysis.audit.formats.fields import (
    key_of,
    model_of,
    nanodollars,
    part,
    status_of,
    time_among,
    word,
)
from cacheserver.analysis.replay.call import Call
from cacheserver.core import json_text
from cacheserver.core.types import Usage
from cacheserver.core.usage import usage_of
from cacheserver.pricing import estimate

_BODY = ("request", "body", "params", "request_body")
_ANSWER = ("response", "message", "completion", "response_body")
_TIME = ("timestamp", "created_at", "time", "start_time", "request_created_at", "at")


def fits(record: Mapping[str, Any]) -> bool:
    """Return whether a record has this format."""
    body = part(record, *_BODY)
    return body is not None and isinstance(body.get("messages"), list) and "model" in body


def call_of(record: Mapping[str, Any], source: str) -> Call | str:
    """Return the call, or the reason for leaving the record out."""
    body = part(record, *_BODY)
    if body is None:
        return "no request body"
    model = model_of(body.get("model"))
    if model is None:
        return f"model:{str(body.get('model'))[:60]}"
    at = time_among(record, *_TIME)
    if at is None:
        return "no time"
    status = status_of(
        record.get("status", record.get("status_code", record.get("response_status", 200)))
    )
    message = _message(part(record, *_ANSWER))
    usage = usage_of(message) if message is not None and message.get("usage") else None
    failed = not status or status >= 400
    return Call(
        at=at,
        model=model,
        usage=usage or (Usage() if failed else _estimated(body, message, model)),
        body={**body, "model": model},
        message=message,
        headers=_headers(part(record, "headers", "request_headers")),
        tenant=word(record, "tenant", "organization", "customer", "user_id") or "default",
        key=key_of(record.get("key") or record.get("api_key_name")),
        purpose=word(record, "purpose", "task", "feature", "name"),
        cost=nanodollars(record.get("cost_usd", record.get("cost"))),
        status=status,
        hit=str(record.get("cache_hit")).lower() == "true",
        stream=body.get("stream") is True,
        estimated=usage is None and not failed,
        source=source,
    )


def _message(answer: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Claude's message; None where there is none, or an error."""
    if answer is None:
        return None
    result = part(answer, "result")
    if result is not None:
        answer = part(result, "message") or {}
    return answer if isinstance(answer.get("content"), list) else None


def _estimated(body: Mapping[str, Any], message: Mapping[str, Any] | None, model: str) -> Usage:
    """Tokens by characters, where the log has none."""
    text = json_text.dumps((message or {}).get("content") or "")
    per = estimate.chars_per_token(model)
    return Usage(estimate.prompt_tokens(body, model), round(len(text) / per) if message else 0)


def _headers(headers: Mapping[str, Any] | None) -> Mapping[str, str]:
    """Claude's own headers; never a credential."""
    return {
        str(name).lower(): value
        for name, value in (headers or {}).items()
        if str(name).lower().startswith("anthropic-") and isinstance(value, str)
    }
