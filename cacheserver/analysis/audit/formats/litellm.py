"""Spend logs of the LiteLLM proxy: rows of its table `LiteLLM_SpendLogs`, as JSON or CSV.

`messages` and `response` are there only where the proxy was told to store prompts; they are in
OpenAI's shape, and are turned into what was sent to Claude. `prompt_tokens` holds what was read
from and written to Claude's cache, which `metadata.usage_object` tells apart (litellm's
`Usage`: `cache_read_input_tokens`, `cache_creation_input_tokens`, `prompt_tokens_details`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cacheserver.analysis.audit.formats import openai
from cacheserver.analysis.audit.formats.fields import (
    count,
    inclusive,
    key_of,
    listed,
    mapped,
    model_of,
    nanodollars,
    part,
    time_of,
    word,
)
from cacheserver.analysis.replay.call import Call
from cacheserver.core.types import Usage


def fits(record: Mapping[str, Any]) -> bool:
    """Return whether a record has this format."""
    return "spend" in record and "startTime" in record and "model" in record


def call_of(record: Mapping[str, Any], source: str) -> Call | str:
    """Return the call, or the reason for leaving the record out."""
    model = model_of(record.get("model"))
    if model is None:
        return f"model:{str(record.get('model'))[:60]}"
    at = time_of(record.get("startTime"))
    if at is None:
        return "no time"
    metadata = mapped(record.get("metadata")) or {}
    failed = record.get("status") not in (None, "success")
    return Call(
        at=at,
        model=model,
        usage=_usage(record, part(metadata, "usage_object", "additional_usage_values") or {}),
        body=_body(record, model),
        message=openai.message_of(mapped(record.get("response")) or {}),
        tenant=word(record, "team_id", "organization_id", "end_user", "user") or "default",
        key=key_of(metadata.get("user_api_key_alias") or record.get("api_key")),
        purpose=_tag(record.get("request_tags")) or word(record, "model_group"),
        cost=nanodollars(record.get("spend")),
        status=500 if failed else 200,
        hit=str(record.get("cache_hit")).lower() == "true",
        source=source,
    )


def _usage(record: Mapping[str, Any], metadata: Mapping[str, Any]) -> Usage:
    usage = inclusive(
        count(record.get("prompt_tokens")),
        read=count(metadata.get("cache_read_input_tokens")),
        written=count(metadata.get("cache_creation_input_tokens")),
        output=count(record.get("completion_tokens")),
    )
    details = (
        part(part(metadata, "prompt_tokens_details") or {}, "cache_creation_token_details") or {}
    )
    hour = min(count(details.get("ephemeral_1h_input_tokens")), usage.cache_write_5m_tokens)
    return replace(
        usage,
        cache_write_5m_tokens=usage.cache_write_5m_tokens - hour,
        cache_write_1h_tokens=hour,
    )


def _body(record: Mapping[str, Any], model: str) -> Mapping[str, Any] | None:
    request = mapped(record.get("proxy_server_request")) or {}
    turns = listed(record.get("messages")) or listed(request.get("messages"))
    return openai.body_of(request, turns, model)


def _tag(tags: object) -> str | None:
    found = listed(tags)
    return found[0] if found and isinstance(found[0], str) and found[0] else None
