"""Spans of OpenTelemetry's GenAI conventions: OTLP as JSON, or one object for each span.

Names are those of the semantic conventions for generative AI; where they are missing, those that
OpenLLMetry wrote before (`gen_ai.prompt.0.content`). By the conventions `input_tokens` counts
what Claude's cache read and wrote. Prompts are there where their capture was switched on. Spans of
agents and tools hold the sums of calls that have spans of their own: they are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cacheserver.analysis.audit.formats.fields import (
    count,
    inclusive,
    listed,
    model_among,
    parsed,
    part,
    time_among,
    word,
)
from cacheserver.analysis.audit.formats.openai import STOPS
from cacheserver.analysis.replay.call import Call
from cacheserver.core.types import Usage

_OTHERS: Final = "skip:spans of other work"
_CALLS: Final = frozenset({"chat", "text_completion", "generate_content", "completion"})
_STARTS: Final = ("startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime")
_PARAMETERS: Final = ("max_tokens", "temperature", "top_p", "top_k", "stop_sequences")


def spans(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield each span of a batch, with its resource's attributes as defaults."""
    for resource in _objects(record.get("resourceSpans")):
        shared = _attributes((part(resource, "resource") or {}).get("attributes"))
        for scope in _objects(resource.get("scopeSpans")):
            for span in _objects(scope.get("spans")):
                yield {**span, "attributes": {**shared, **_attributes(span.get("attributes"))}}


def fits(record: Mapping[str, Any]) -> bool:
    """Return whether a record is a span."""
    return isinstance(parsed(record.get("attributes")), list | dict) and any(
        name in record for name in ("spanId", "span_id", "context", "startTimeUnixNano")
    )


def call_of(record: Mapping[str, Any], source: str) -> Call | str:
    """Return the call, or the reason for leaving the span out."""
    attributes = _attributes(parsed(record.get("attributes")))
    for event in _objects(record.get("events")):
        attributes |= _attributes(event.get("attributes"))
    operation = attributes.get("gen_ai.operation.name", attributes.get("llm.request.type", "chat"))
    names = [attributes.get(f"gen_ai.{which}.model") for which in ("response", "request")]
    if operation not in _CALLS or not any(names):
        return _OTHERS
    model = model_among(*names)
    if model is None:
        return f"model:{next(str(name) for name in names if name)[:60]}"
    at = time_among(record, *_STARTS)
    if at is None:
        return "no time"
    return Call(
        at=at,
        model=model,
        usage=_usage(attributes),
        body=_body(attributes, model),
        message=_message(attributes),
        tenant=word(attributes, "tenant.id", "enduser.id", "user.id") or "default",
        purpose=word(attributes, "gen_ai.prompt.name", "gen_ai.agent.name", "service.name"),
        status=500 if attributes.get("error.type") else 200,
        stream=attributes.get("gen_ai.request.stream") is True,
        source=source,
    )


def _usage(attributes: Mapping[str, Any]) -> Usage:
    def first(*names: str) -> int:
        return next(
            (
                count(attributes[f"gen_ai.usage.{n}"])
                for n in names
                if f"gen_ai.usage.{n}" in attributes
            ),
            0,
        )

    return inclusive(
        first("input_tokens", "prompt_tokens"),
        read=first("cache_read.input_tokens", "cache_read_input_tokens"),
        written=first("cache_creation.input_tokens", "cache_creation_input_tokens"),
        output=first("output_tokens", "completion_tokens"),
    )


def _body(attributes: Mapping[str, Any], model: str) -> Mapping[str, Any] | None:
    turns = listed(attributes.get("gen_ai.input.messages")) or _numbered(
        attributes, "gen_ai.prompt"
    )
    system = _blocks(listed(attributes.get("gen_ai.system_instructions"))) or []
    messages: list[dict[str, Any]] = []
    for turn in turns:
        blocks = _blocks_of_turn(turn)
        if blocks is None:
            return None
        if turn.get("role") in ("system", "developer"):
            system += blocks
        elif blocks:
            role = "assistant" if turn.get("role") == "assistant" else "user"
            messages.append({"role": role, "content": blocks})
    if not messages:
        return None
    body: dict[str, Any] = {"model": model, "messages": messages}
    if system:
        body["system"] = system
    for name in _PARAMETERS:
        if (value := attributes.get(f"gen_ai.request.{name}")) is not None:
            body[name] = value
    tools = listed(attributes.get("gen_ai.tool.definitions"))
    return {**body, "tools": [_tool(one) for one in tools]} if tools else body


def _message(attributes: Mapping[str, Any]) -> Mapping[str, Any] | None:
    turns = listed(attributes.get("gen_ai.output.messages")) or _numbered(
        attributes, "gen_ai.completion"
    )
    blocks = _blocks_of_turn(turns[0]) if turns else None
    if not blocks:
        return None
    reasons = listed(attributes.get("gen_ai.response.finish_reasons"))
    reason = str(turns[0].get("finish_reason") or (reasons[0] if reasons else "stop"))
    return {"content": blocks, "stop_reason": STOPS.get(reason, reason)}


def _blocks_of_turn(turn: object) -> list[dict[str, Any]] | None:
    if not isinstance(turn, Mapping):
        return None
    if isinstance(turn.get("content"), str):
        return [{"type": "text", "text": turn["content"]}]
    return _blocks(listed(turn["parts"])) if "parts" in turn else None


def _blocks(parts: object) -> list[dict[str, Any]] | None:
    """Return Messages blocks; None if they cannot be converted."""
    blocks: list[dict[str, Any]] = []
    for one in listed(parts):
        match one:
            case {"type": "text", "content": str(text)}:
                blocks.append({"type": "text", "text": text})
            case {"type": "tool_call", "id": str(id), "name": str(name)}:
                given = parsed(one.get("arguments"))
                arguments = given if isinstance(given, Mapping) else {}
                blocks.append({"type": "tool_use", "id": id, "name": name, "input": arguments})
            case {"type": "tool_call_response", "id": str(id)}:
                result = one.get("response", one.get("result"))
                content = result if isinstance(result, str | list) else str(result)
                blocks.append({"type": "tool_result", "tool_use_id": id, "content": content})
            case {"type": "reasoning"}:
                continue
            case _:
                return None
    return blocks


def _tool(tool: object) -> Any:
    if not isinstance(tool, Mapping) or "parameters" not in tool:
        return tool
    rest = {name: value for name, value in tool.items() if name not in ("parameters", "type")}
    return {**rest, "input_schema": parsed(tool["parameters"])}


def _numbered(attributes: Mapping[str, Any], prefix: str) -> list[Mapping[str, Any]]:
    """Turns whose parts are attributes of their own: `gen_ai.prompt.0.role`."""
    turns: list[Mapping[str, Any]] = []
    while any(name.startswith(f"{prefix}.{len(turns)}.") for name in attributes):
        at = f"{prefix}.{len(turns)}."  # of one that calls tools there is no content
        fields = ("role", "content", "finish_reason")
        turns.append({name: attributes[at + name] for name in fields if at + name in attributes})
    return turns


def _attributes(given: object) -> dict[str, Any]:
    """Attributes by name, from OTLP's list of them or as they are."""
    if isinstance(given, Mapping):
        return dict(given)
    found: dict[str, Any] = {}
    for one in _objects(given):
        if isinstance(one.get("key"), str):
            found[one["key"]] = _value(one.get("value"))
    return found


def _objects(given: object) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a list; nothing for other values."""
    return (one for one in listed(given) if isinstance(one, Mapping))


def _value(given: object) -> Any:
    """A value of OTLP's JSON; whole numbers are texts there."""
    match given:
        case {"intValue": str(number) | int(number)}:
            return int(number)
        case {"arrayValue": {"values": list(values)}}:
            return [_value(one) for one in values]
        case {"kvlistValue": {"values": list(values)}}:
            return _attributes(values)
        case Mapping() if len(given) == 1:
            return next(iter(given.values()))
    return given
