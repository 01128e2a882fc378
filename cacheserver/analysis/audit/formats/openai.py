"""Conversion of OpenAI-shaped chat requests and answers to the Messages shape.

Rule: what cannot be turned into what Claude was sent is not guessed at; then nothing is known of
the prompt, and the request is priced only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cacheserver.analysis.audit.formats.fields import listed, parsed, part
from cacheserver.core import json_text

STOPS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "tool_call": "tool_use",
    "function_call": "tool_use",
}
# Blocks of Messages, which gateways pass on as they are.
_OWN: Final = frozenset({"image", "document", "tool_use", "tool_result", "thinking"})
_SAME: Final = ("temperature", "top_p", "stream")


def body_of(request: Mapping[str, Any], turns: Sequence[Any], model: str) -> dict[str, Any] | None:
    """Return a Messages body from `turns` and the parameters in `request`; None if that fails."""
    system: list[dict[str, Any]] = []
    messages: list[dict[str, Any]] = []
    for turn in turns:
        content = _turn(turn)
        if content is None:
            return None
        role = turn.get("role")
        if role in ("system", "developer"):
            system += content
        elif role == "tool":
            # Claude takes the results of one turn's tools in one turn.
            if messages and messages[-1]["content"][0].get("type") == "tool_result":
                messages[-1]["content"] += content
            else:
                messages.append({"role": "user", "content": content})
        elif role in ("user", "assistant") and content:
            messages.append({"role": role, "content": content})
        else:
            return None
    if not messages:
        return None
    body: dict[str, Any] = {"model": model, "messages": messages}
    if request.get("system"):
        body["system"] = request["system"]
    elif system:
        body["system"] = system
    for name in ("max_tokens", "max_completion_tokens"):
        if isinstance(request.get(name), int):
            body["max_tokens"] = request[name]
    stops = request.get("stop_sequences", request.get("stop"))
    if stops:
        body["stop_sequences"] = [stops] if isinstance(stops, str) else stops
    body |= {name: request[name] for name in _SAME if request.get(name) is not None}
    tools = listed(request.get("tools"))
    if tools:
        body["tools"] = [_tool(one) for one in tools]
    choice = _choice(request.get("tool_choice"))
    return body if choice is None else {**body, "tool_choice": choice}


def message_of(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return Claude's message from a chat completion; None if it has none."""
    choices = listed(answer.get("choices"))
    first = choices[0] if choices and isinstance(choices[0], Mapping) else {}
    reply = part(first, "message")
    content = None if reply is None else _turn({"role": "assistant", **reply})
    if not content:
        return None
    stop = STOPS.get(str(first.get("finish_reason")), "end_turn")
    return {"content": content, "stop_reason": stop}


def _turn(turn: object) -> list[dict[str, Any]] | None:
    """Return the blocks of a turn; None if they cannot be converted."""
    if not isinstance(turn, Mapping):
        return None
    if turn.get("role") == "tool":
        reply = _content(turn.get("content"))
        id = turn.get("tool_call_id")
        if reply is None or not isinstance(id, str):
            return None
        return [{"type": "tool_result", "tool_use_id": id, "content": reply}]
    content = [] if turn.get("content") is None else _content(turn["content"])
    calls = [_call(one) for one in listed(turn.get("tool_calls"))]
    if content is None or None in calls:
        return None
    return content + [one for one in calls if one is not None]


def _content(content: object) -> list[dict[str, Any]] | None:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if not isinstance(content, list):
        return None
    blocks = [_block(one) for one in content]
    return None if None in blocks else [one for one in blocks if one is not None]


def _block(block: object) -> dict[str, Any] | None:
    if not isinstance(block, Mapping):
        return None
    match block.get("type"):
        case "text" | "input_text" | "output_text":
            text = block.get("text")
            marked = {"cache_control": block["cache_control"]} if "cache_control" in block else {}
            return {"type": "text", "text": text, **marked} if isinstance(text, str) else None
        case "image_url":
            return _image(block.get("image_url"))
        case kind if kind in _OWN:
            return dict(block)
    return None


def _image(given: object) -> dict[str, Any] | None:
    url = given.get("url") if isinstance(given, Mapping) else given
    if not isinstance(url, str):
        return None
    if url.startswith("data:"):
        kind, _, data = url[5:].partition(";base64,")
        source = {"type": "base64", "media_type": kind, "data": data}
    else:
        source = {"type": "url", "url": url}
    return {"type": "image", "source": source}


def _call(call: object) -> dict[str, Any] | None:
    if not isinstance(call, Mapping):
        return None
    function = part(call, "function")
    if function is None or not isinstance(call.get("id"), str):
        return None
    given = function.get("arguments")
    try:
        arguments = json_text.loads(given) if isinstance(given, str) and given else given
    except ValueError:
        return None
    return {
        "type": "tool_use",
        "id": call["id"],
        "name": str(function.get("name")),
        "input": arguments if isinstance(arguments, Mapping) else {},
    }


def _tool(tool: object) -> Any:
    """A tool's definition; one of Anthropic's own kind stays as it is."""
    function = part(tool, "function") if isinstance(tool, Mapping) else None
    if function is None:
        return tool
    made = {
        "name": function.get("name"),
        "description": function.get("description"),
        "input_schema": parsed(function.get("parameters")) or {"type": "object"},
    }
    return {name: value for name, value in made.items() if value is not None}


def _choice(choice: Any) -> Mapping[str, Any] | None:
    match choice:
        case "auto" | "none":
            return {"type": choice}
        case "required":
            return {"type": "any"}
        case {"type": "function", "function": {"name": str(name)}}:
            return {"type": "tool", "name": name}
        case {"type": "auto" | "any" | "tool" | "none"}:
            own: Mapping[str, Any] = choice
            return own
    return None
