"""Answers of the simulated Claude, a function of the request alone.

Thinking is off unless asked for by `thinking` or a directive, unlike the real 5.x models.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from cacheserver.simulated import directives, prompt, signatures, verification
from cacheserver.simulated.catalogue import Model
from cacheserver.simulated.directives import Directives
from cacheserver.simulated.errors import invalid

# What the API documents as having no effect on what Claude says.
_NOT_SHAPING = frozenset(
    {"stream", "metadata", "service_tier", "speed", "diagnostics", "cache_control"}
    | {"billing_policy", "fallback_credit_token", "inference_geo"}
)

_ECHOED = 200  # characters of the question in the answer
_THOUGHT_WORDS = 20
_MOST_ITEMS = 100  # of an array that follows a schema
_WORDS = ("it", "says", "what", "was", "said", "before", "when", "the", "same", "is", "asked")


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer before it has an id and a bill."""

    content: list[dict[str, Any]]
    stop_reason: str
    output_tokens: int
    thinking_tokens: int = 0
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    web_searches: int = 0


def digest(body: Mapping[str, Any]) -> str:
    """Return 12 hex digits that differ where anything that shapes the answer does."""
    shaping = {
        name: value
        for name, value in body.items()
        if name not in _NOT_SHAPING and value is not None
    }
    shaping["system"] = [prompt.unmarked(part) for part in prompt.blocks_of(body.get("system"))]
    shaping["tools"] = [prompt.unmarked(tool) for tool in body.get("tools") or []]
    shaping["messages"] = [
        [message["role"], prompt.unmarked(part)]
        for message in body["messages"]
        for part in prompt.blocks_of(message["content"])
    ]
    packed = orjson.dumps(shaping, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(packed).hexdigest()[:12]


def compose(body: Mapping[str, Any], model: Model, account: str, asked: Directives) -> Draft:
    """Return the answer to a valid request."""
    if body.get("max_tokens") == 0:
        return Draft([], "max_tokens", output_tokens=0)
    mark = digest(body)
    if asked.refusal is not None and asked.text is None:
        return Draft([], "refusal", output_tokens=0, stop_details=_refused(asked.refusal))
    thought = _thought(body, asked, mark)
    written: list[dict[str, Any]] = []
    thinking_tokens = 0
    if thought is not None:
        thinking_tokens = prompt.text_tokens(thought, model)
        written.append(_thinking_block(thought, body, model, account))
    if asked.redacted:
        hidden = base64.b64encode(f"simulated {mark}".encode()).decode()
        written.append({"type": "redacted_thinking", "data": hidden})
    tool = _tool(body, asked)
    if asked.search or asked.pause:
        written.extend(_search(directives.question(body), mark, finished=not asked.pause))
    if tool is not None:
        written.append(_tool_use(tool, body, asked, mark))
    elif not asked.pause:
        written.append(_text_block(body, asked, mark))
    draft = Draft(
        written,
        _stop_reason(asked, tool),
        output_tokens=sum(_block_tokens(block, model) for block in written) + thinking_tokens,
        thinking_tokens=thinking_tokens,
        stop_details=None if asked.refusal is None else _refused(asked.refusal),
        web_searches=1 if asked.search or asked.pause else 0,
    )
    return _cut(_stopped(draft, body, model), body, model, asked)


def _stop_reason(asked: Directives, tool: str | None) -> str:
    if asked.stop is not None:
        return asked.stop
    if asked.refusal is not None:
        return "refusal"
    if asked.pause:
        return "pause_turn"
    return "end_turn" if tool is None else "tool_use"


def _refused(category: str) -> dict[str, Any]:
    return {
        "type": "refusal",
        "category": category or None,
        "explanation": "A simulated refusal.",
    }


def _thought(body: Mapping[str, Any], asked: Directives, mark: str) -> str | None:
    thinking = body.get("thinking") or {}
    if asked.thinking is not None:
        return f"A simulated thought ({mark}): {_prose(asked.thinking, mark)}."
    if thinking.get("type") in ("adaptive", "enabled"):
        return f"A simulated thought ({mark}): {_prose(_THOUGHT_WORDS, mark)}."
    return None


def _thinking_block(
    thought: str, body: Mapping[str, Any], model: Model, account: str
) -> dict[str, Any]:
    omitted = (body.get("thinking") or {}).get("display") == "omitted"
    return {
        "type": "thinking",
        "thinking": "" if omitted else thought,
        "signature": signatures.sign(thought, body, model, account),
    }


def _tool(body: Mapping[str, Any], asked: Directives) -> str | None:
    choice = body.get("tool_choice") or {}
    if asked.tool is not None:
        return asked.tool
    if choice.get("type") == "tool":
        return str(choice.get("name"))
    if choice.get("type") == "any":
        return str(body["tools"][0].get("name"))
    return None


def _tool_use(name: str, body: Mapping[str, Any], asked: Directives, mark: str) -> dict[str, Any]:
    given: Any = asked.input
    if given is None:
        tools = body.get("tools") or []
        schemas = [tool.get("input_schema") or {} for tool in tools if tool.get("name") == name]
        given = example(schemas[0] if schemas else {}, mark)
    return {
        "type": "tool_use",
        "id": f"toolu_sim_{mark}",
        "name": name,
        "input": given if isinstance(given, dict) else {},
        "caller": {"type": "direct"},
    }


def _search(query: str, mark: str, *, finished: bool) -> Iterator[dict[str, Any]]:
    used = f"srvtoolu_sim_{mark}"
    yield {
        "type": "server_tool_use",
        "id": used,
        "name": "web_search",
        "input": {"query": query},
        "caller": {"type": "direct"},
    }
    if finished:
        found = {
            "type": "web_search_result",
            "title": "A simulated page",
            "url": f"https://example.com/{mark}",
            "encrypted_content": base64.b64encode(mark.encode()).decode(),
            "page_age": None,
        }
        yield {
            "type": "web_search_tool_result",
            "tool_use_id": used,
            "content": [found],
            "caller": {"type": "direct"},
        }


def _text_block(body: Mapping[str, Any], asked: Directives, mark: str) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": _text(body, asked, mark)}
    if asked.cite and (citation := _citation(body)) is not None:
        block["citations"] = [citation]
    return block


def _text(body: Mapping[str, Any], asked: Directives, mark: str) -> str:
    if asked.text is not None:
        return asked.text
    if (verdict := verification.reply(body)) is not None:
        return verdict
    form = (body.get("output_config") or {}).get("format") or {}
    if form.get("type") == "json_schema":
        try:
            return orjson.dumps(example(form.get("schema") or {}, mark)).decode()
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ):
            message = "output_config.format.schema: Input should be a valid JSON schema"
            raise invalid(message) from None
    if asked.words is not None:
        return f"A simulated answer ({mark}): {_prose(asked.words, mark)}."
    echo = directives.question(body)[:_ECHOED]
    return f'This is a simulated answer ({mark}), not Claude\'s. The question was: "{echo}"'


def _citation(body: Mapping[str, Any]) -> dict[str, Any] | None:
    documents = [
        part
        for message in body["messages"]
        for part in prompt.blocks_of(message["content"])
        if part["type"] == "document" and (part.get("source") or {}).get("type") == "text"
    ]
    if not documents:
        return None
    cited = str(documents[0]["source"]["data"])[:80]
    return {
        "type": "char_location",
        "cited_text": cited,
        "document_index": 0,
        "document_title": documents[0].get("title"),
        "file_id": None,
        "start_char_index": 0,
        "end_char_index": len(cited),
    }


def example(schema: Mapping[str, Any], mark: str) -> Any:
    """Return a small value of a JSON schema: first choices, strings that hold `mark`."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if schema.get(choice):
            return example(schema[choice][0], mark)
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) else kind:
        case "string":
            return f"simulated {mark}"
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "array":
            return [example(schema.get("items") or {}, mark)] * min(
                int(schema.get("minItems", 0)), _MOST_ITEMS
            )
        case "null":
            return None
        case _:
            parts = schema.get("properties") or {}
            return {name: example(parts.get(name, {}), mark) for name in schema.get("required", ())}


def _prose(count: int, mark: str) -> str:
    start = int(mark, 16)
    return " ".join(_WORDS[(start + index) % len(_WORDS)] for index in range(count))


def _block_tokens(block: Mapping[str, Any], model: Model) -> int:
    match block["type"]:
        case "thinking":
            return 0  # counted from the thought itself, which `display` may have left out
        case "text":
            return max(1, prompt.text_tokens(block["text"], model))
        case kind if kind.endswith("_tool_result"):
            return 0  # the server's, not Claude's
        case _:
            return max(1, prompt.text_tokens(orjson.dumps(block).decode(), model))


def _stopped(draft: Draft, body: Mapping[str, Any], model: Model) -> Draft:
    """Return `draft` as far as the first stop sequence."""
    for index, block in enumerate(draft.content):
        if block["type"] != "text":
            continue
        found = [
            (block["text"].index(stop), stop)
            for stop in body.get("stop_sequences") or []
            if stop in block["text"]
        ]
        if found:
            at, stop = min(found)
            kept = [*draft.content[:index], {**block, "text": block["text"][:at]}]
            used = sum(_block_tokens(each, model) for each in kept) + draft.thinking_tokens
            return replace(
                draft,
                content=kept,
                stop_reason="stop_sequence",
                stop_sequence=stop,
                output_tokens=used,
            )
    return draft


def _cut(draft: Draft, body: Mapping[str, Any], model: Model, asked: Directives) -> Draft:
    """Return `draft` as far as `max_tokens` allows."""
    limit = int(body["max_tokens"])
    if draft.output_tokens <= limit:
        return draft
    left = limit
    kept: list[dict[str, Any]] = []
    for block in draft.content:
        thinking = block["type"] == "thinking"
        cost = draft.thinking_tokens if thinking else _block_tokens(block, model)
        if cost > left:
            if block["type"] == "text" and left > 0:
                kept.append({**block, "text": block["text"][: int(left * model.chars_per_token)]})
            break
        kept.append(block)
        left -= cost
    return replace(
        draft,
        content=kept,
        stop_reason=asked.stop or "max_tokens",
        stop_sequence=None,
        output_tokens=limit,
        thinking_tokens=min(draft.thinking_tokens, limit),
    )
