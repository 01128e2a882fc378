"""Spend logs of the LiteLLM proxy: rows of its table `LiteLLM_SpendLogs` as JSONL.

`messages` and `response` are there only where the proxy was told to store prompts; they are in
OpenAI's shape, and are turned into what was sent to Claude. `prompt_tokens` holds what was read
from and written to Claude's cache, which `metadata.usage_object` tells apart (litellm's
`Usage.prompt_tokens`; its `cache_read_input_tokens` and `cache_creation_input_tokens`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cacheserver import jsontext
from cacheserver.audit.fields import count, key_of, model_of, nanodollars, part, time_of, word
from cacheserver.replay.call import Call
from cacheserver.types import Usage

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def fits(record: Mapping[str, Any]) -> bool:
    """Whether a record looks like one of these."""
    return "spend" in record and "startTime" in record and "model" in record


def call_of(record: Mapping[str, Any], source: str) -> Call | str:
    """The call, or why the record is none."""
    model = model_of(record.get("model"))
    if model is None:
        return f"model:{str(record.get('model'))[:60]}"
    at = time_of(record.get("startTime"))
    if at is None:
        return "no time"
    metadata = _object(record.get("metadata")) or {}
    failed = record.get("status") not in (None, "success")
    return Call(
        at=at,
        model=model,
        usage=_usage(record, part(metadata, "usage_object", "additional_usage_values") or {}),
        body=_body(record, model),
        message=_message(_object(record.get("response"))),
        tenant=word(record, "team_id", "organization_id", "end_user", "user") or "default",
        key=key_of(metadata.get("user_api_key_alias") or record.get("api_key")),
        purpose=_tag(record.get("request_tags")) or word(record, "model_group"),
        conversation=word(record, "session_id"),
        cost=nanodollars(record.get("spend")),
        status=500 if failed else 200,
        hit=str(record.get("cache_hit")).lower() == "true",
        source=source,
    )


def _usage(record: Mapping[str, Any], told: Mapping[str, Any]) -> Usage:
    read = count(told.get("cache_read_input_tokens"))
    written = count(told.get("cache_creation_input_tokens"))
    prompt = count(record.get("prompt_tokens"))
    # Older rows have the uncached rest alone: there the cache's part is more than the whole.
    rest = prompt - read - written if prompt >= read + written else prompt
    return Usage(
        input_tokens=rest,
        output_tokens=count(record.get("completion_tokens")),
        cache_write_5m_tokens=written,
        cache_read_tokens=read,
    )


def _body(record: Mapping[str, Any], model: str) -> Mapping[str, Any] | None:
    asked = _object(record.get("proxy_server_request")) or {}
    turns = _list(record.get("messages")) or _list(asked.get("messages"))
    if not turns:
        return None
    system: list[dict[str, Any]] = []
    messages: list[dict[str, Any]] = []
    for turn in turns:
        if not isinstance(turn, Mapping):
            return None
        content = _content(turn.get("content"))
        if content is None or turn.get("tool_calls") or turn.get("role") == "tool":
            return None  # tools: not turned into blocks, so nothing is claimed of such a call
        if turn.get("role") in ("system", "developer"):
            system += content
        elif turn.get("role") in ("user", "assistant"):
            messages.append({"role": turn["role"], "content": content})
    if not messages:
        return None
    body: dict[str, Any] = {"model": model, "messages": messages}
    if system:
        body["system"] = system
    for name in ("max_tokens", "temperature", "top_p", "stop_sequences", "stream"):
        if asked.get(name) is not None:
            body[name] = asked[name]
    return body if not asked.get("tools") else {**body, "tools": asked["tools"]}


def _content(content: object) -> list[dict[str, Any]] | None:
    """Text blocks; None for what is not text alone."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    blocks = _list(content)
    if not blocks or not all(isinstance(b, Mapping) and b.get("type") == "text" for b in blocks):
        return None
    return [dict(block) for block in blocks]


def _message(response: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    choices = _list((response or {}).get("choices"))
    first = choices[0] if choices and isinstance(choices[0], Mapping) else {}
    said = part(first, "message") or {}
    if not isinstance(said.get("content"), str) or said.get("tool_calls"):
        return None
    stop = _STOPS.get(str(first.get("finish_reason")), "end_turn")
    return {"content": [{"type": "text", "text": said["content"]}], "stop_reason": stop}


def _tag(tags: object) -> str | None:
    found = _list(tags)
    return found[0] if found and isinstance(found[0], str) and found[0] else None


def _object(value: object) -> Mapping[str, Any] | None:
    value = _parsed(value)
    return value if isinstance(value, Mapping) else None


def _list(value: object) -> Sequence[Any]:
    value = _parsed(value)
    return value if isinstance(value, list) else []


def _parsed(value: object) -> object:
    """Columns of JSON come as text or as what it says."""
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return jsontext.loads(value)
        except ValueError:
            return None
    return value
