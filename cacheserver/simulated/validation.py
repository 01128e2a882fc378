"""Validation of Messages requests, as far as our client can meet it.

Fields that are not named here are taken as they come, as the real API's lists are open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cacheserver.simulated import catalogue, prompt
from cacheserver.simulated.catalogue import Model
from cacheserver.simulated.errors import invalid

VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")
STRICT_VERSION = "2026-10-21"  # refuses sampling parameters, even at their defaults

MAX_BREAKPOINTS = 4
MAX_MESSAGES = 100_000

_SAMPLING = ("temperature", "top_p", "top_k")


def check(
    body: Any, *, version: str, counting: bool = False, batched: bool = False
) -> tuple[Mapping[str, Any], Model]:
    """Return a request that may be answered, and its model. Raises `ApiError`."""
    if not isinstance(body, dict):
        raise invalid("Input should be a valid dictionary")
    if not isinstance(body.get("model"), str):
        raise invalid(_wrong(body, "model", "string"))
    _messages(body, version)
    _system(body.get("system"))
    _tools(body.get("tools"))
    if not isinstance(body.get("stream", False), bool):
        raise invalid("stream: Input should be a valid boolean")
    stops = body.get("stop_sequences") or []
    if not isinstance(stops, list) or not all(isinstance(s, str) and s.strip() for s in stops):
        raise invalid("stop_sequences: each stop sequence must contain non-whitespace")
    model = catalogue.find(body["model"])
    _marks(body)
    _options(body, model, version)
    if not counting:
        _max_tokens(body, model, batched)
    if batched:
        for field in ("stream", "speed", "thread"):
            if body.get(field):
                raise invalid(f"{field}: not supported in a batch")
    if not model.legacy and _prefills(body["messages"][-1]):
        raise invalid(
            "This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )
    size = prompt.tokens(body, model)
    if size > model.max_input_tokens:
        raise invalid(f"prompt is too long: {size} tokens > {model.max_input_tokens} maximum")
    return body, model


def _wrong(body: Mapping[str, Any], field: str, kind: str) -> str:
    return f"{field}: " + (
        f"Input should be a valid {kind}" if body.get(field) is not None else "Field required"
    )


def _messages(body: Mapping[str, Any], version: str) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise invalid(_wrong(body, "messages", "list"))
    if not messages:
        raise invalid("messages: at least one message is required")
    if len(messages) > MAX_MESSAGES:
        raise invalid(f"messages: at most {MAX_MESSAGES} messages are allowed")
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if not isinstance(message, dict):
            raise invalid(f"{where}: Input should be a valid dictionary")
        if message.get("role") not in ("user", "assistant", "system"):
            raise invalid(f"{where}.role: Input should be 'user' or 'assistant'")
        if message.get("content") is None:
            raise invalid(f"{where}.content: Field required")
        _content(message["content"], f"{where}.content", message["role"], version)
    if messages[0]["role"] != "user":
        raise invalid('messages: first message must use the "user" role')
    _tool_results(messages)


def _content(content: Any, where: str, role: str, version: str) -> None:
    if not isinstance(content, (str, list)):
        raise invalid(f"{where}: Input should be a valid string or list")
    if not content and role != "assistant":
        raise invalid(f"{where}: content must be non-empty")
    for index, part in enumerate(prompt.blocks_of(content)):
        at = f"{where}.{index}"
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise invalid(f"{at}.type: Field required")
        if part["type"] == "text":
            if not isinstance(part.get("text"), str):
                raise invalid(f"{at}.text: Input should be a valid string")
            if not part["text"] and role != "assistant":
                raise invalid(f"{at}: text content blocks must be non-empty")
        if part["type"] == "thinking" and not isinstance(part.get("thinking"), str):
            raise invalid(f"{at}.thinking: Input should be a valid string")
        if part["type"] == "tool_result":
            _result(part, at)
        if version == STRICT_VERSION:
            if role == "assistant" and part["type"] == "document":
                raise invalid(f"{at}: `document` blocks are not allowed in assistant messages")
            if role == "user" and part["type"] == "text" and part.get("citations"):
                raise invalid(f"{at}.citations: not allowed on user text blocks")


def _result(part: Mapping[str, Any], at: str) -> None:
    inner = part.get("content")
    if inner is not None and not isinstance(inner, (str, list)):
        raise invalid(f"{at}.content: Input should be a valid string or list")
    for index, one in enumerate(inner if isinstance(inner, list) else ()):
        if not isinstance(one, dict) or not isinstance(one.get("type"), str):
            raise invalid(f"{at}.content.{index}.type: Field required")
        if one["type"] == "text" and not isinstance(one.get("text"), str):
            raise invalid(f"{at}.content.{index}.text: Input should be a valid string")


def _tool_results(messages: Sequence[Mapping[str, Any]]) -> None:
    """Check that every `tool_use` is answered in the next message."""
    for index, message in enumerate(messages[:-1]):
        used = _ids(message, "tool_use", "id") if message["role"] == "assistant" else set()
        missing = used - _ids(messages[index + 1], "tool_result", "tool_use_id")
        if missing:
            raise invalid(
                f"messages.{index}: `tool_use` ids were found without `tool_result` blocks "
                f"immediately after: {', '.join(sorted(missing))}"
            )


def _prefills(message: Mapping[str, Any]) -> bool:
    """Check that only a paused turn is sent back, not a prefilled answer."""
    kinds = {part["type"] for part in prompt.blocks_of(message["content"])}
    return message["role"] == "assistant" and "server_tool_use" not in kinds


def _ids(message: Mapping[str, Any], kind: str, field: str) -> set[str]:
    parts = prompt.blocks_of(message["content"])
    return {str(part.get(field)) for part in parts if part["type"] == kind}


def _system(system: Any) -> None:
    if system is None or isinstance(system, str):
        return
    if not isinstance(system, list):
        raise invalid("system: Input should be a valid string or list")
    for index, part in enumerate(system):
        if not isinstance(part, dict) or part.get("type") != "text":
            raise invalid(f"system.{index}.type: Input should be 'text'")
        if not isinstance(part.get("text"), str):
            raise invalid(f"system.{index}.text: Input should be a valid string")


def _tools(tools: Any) -> None:
    if tools is None:
        return
    if not isinstance(tools, list):
        raise invalid("tools: Input should be a valid list")
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict) or not (tool.get("name") or tool.get("type")):
            raise invalid(f"tools.{index}.name: Field required")
        if tool.get("type", "custom") == "custom" and not isinstance(
            tool.get("input_schema"), dict
        ):
            raise invalid(f"tools.{index}.custom.input_schema: Field required")


def _marks(body: Mapping[str, Any]) -> None:
    """Check breakpoints: at most four, valid, 1h before 5m, none on thinking or empty text."""
    places: list[tuple[str, Mapping[str, Any]]] = []
    for index, tool in enumerate(body.get("tools") or []):
        places.append((f"tools.{index}", tool))
    for index, part in enumerate(prompt.blocks_of(body.get("system"))):
        places.append((f"system.{index}", part))
    for index, message in enumerate(body["messages"]):
        for position, part in enumerate(prompt.blocks_of(message["content"])):
            places.append((f"messages.{index}.content.{position}", part))
            inner = part.get("content")
            for depth, nested in enumerate(inner if isinstance(inner, list) else []):
                if isinstance(nested, dict):
                    places.append((f"messages.{index}.content.{position}.{depth}", nested))
    marked = [(where, part) for where, part in places if part.get("cache_control") is not None]
    for where, part in marked:
        _mark(part["cache_control"], where)
        if part.get("type") in ("thinking", "redacted_thinking"):
            raise invalid(f"{where}.cache_control: not allowed on thinking blocks")
        if part.get("type") == "text" and not part["text"]:
            raise invalid(f"{where}: cache_control cannot be set for empty text blocks")
    ttls = [part["cache_control"].get("ttl", "5m") for _, part in marked]
    automatic = body.get("cache_control")
    if automatic is not None:
        _mark(automatic, "cache_control")
        last = places[-1][1].get("cache_control")
        ttl = automatic.get("ttl", "5m")
        if last is None:
            ttls.append(ttl)
        elif last.get("ttl", "5m") != ttl:
            raise invalid("cache_control: the last block has a cache_control of a different ttl")
    if len(ttls) > MAX_BREAKPOINTS:
        raise invalid(
            f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. "
            f"Found {len(ttls)}."
        )
    if "5m" in ttls and "1h" in ttls[ttls.index("5m") :]:
        raise invalid(
            "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"
        )


def _mark(cache_control: Any, where: str) -> None:
    if not isinstance(cache_control, dict) or cache_control.get("type") != "ephemeral":
        raise invalid(f"{where}.cache_control.type: Input should be 'ephemeral'")
    if cache_control.get("ttl", "5m") not in ("5m", "1h"):
        raise invalid(f"{where}.cache_control.ttl: Input should be '5m' or '1h'")


def _options(body: Mapping[str, Any], model: Model, version: str) -> None:
    for field in _SAMPLING:
        if body.get(field) is None:
            continue
        if version == STRICT_VERSION:
            raise invalid(f"{field}: not supported from version {STRICT_VERSION} on")
        if body[field] != 1 and not model.legacy:
            raise invalid(f"{field}: {model.id} takes only the default")
    thinking = _object(body, "thinking").get("type")
    if thinking is not None and thinking not in model.thinking:
        raise invalid(f"thinking.type: {model.id} does not support {thinking!r}")
    effort = _object(body, "output_config").get("effort")
    if effort is not None:
        if effort not in catalogue.EFFORTS:
            raise invalid(f"output_config.effort: must be one of {', '.join(catalogue.EFFORTS)}")
        if not model.effort:
            raise invalid(f"output_config.effort: {model.id} does not support effort")
        if thinking == "between_tools" and effort in ("xhigh", "max"):
            raise invalid("output_config.effort: at most high with thinking between_tools")
    choice = _object(body, "tool_choice").get("type")
    if choice not in (None, "auto", "any", "tool", "none"):
        raise invalid("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
    if choice in ("any", "tool"):
        if not model.forced_tools:
            raise invalid(f"tool_choice.type: {model.id} does not support {choice!r}")
        if not body.get("tools"):
            raise invalid("tool_choice: tools are required")


def _object(body: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = body.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(f"{field}: Input should be a valid dictionary")
    return value


def _max_tokens(body: Mapping[str, Any], model: Model, batched: bool) -> None:
    limit = body.get("max_tokens")
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise invalid(_wrong(body, "max_tokens", "integer"))
    if limit < 0:
        raise invalid("max_tokens: Input should be greater than or equal to 0")
    if limit > model.max_tokens:
        raise invalid(
            f"max_tokens: {limit} > {model.max_tokens}, which is the maximum allowed number of "
            f"output tokens for {model.id}"
        )
    if limit:
        return
    # Zero warms the prompt cache and writes nothing.
    thinks = _object(body, "thinking").get("type")
    refused = {
        "in a batch": batched,
        "with `stream`": body.get("stream"),
        "with thinking": thinks in ("enabled", "adaptive"),
        "with `output_config.format`": _object(body, "output_config").get("format"),
        "with `tool_choice` any or tool": _object(body, "tool_choice").get("type")
        in ("any", "tool"),
    }
    for what, size in refused.items():
        if size:
            raise invalid(f"max_tokens: 0 is not allowed {what}")
