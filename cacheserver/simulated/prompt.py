"""A request as the prompt cache sees it: blocks in order, their tokens and their marks.

Tokens are estimated, per block, as ceil(characters / characters per token of the model): of a
text block its text, of any other block its compact JSON without `cache_control`. An image counts
1,600 and a document that is no text 2,000. The estimates add up, so the parts of `usage` do too.
Claude Code's attribution block is for Anthropic's accounts, and no part of the prompt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import orjson

from cacheserver.core.messages.attribution import prompt_of
from cacheserver.simulated.catalogue import Model

Ttl: TypeAlias = Literal["5m", "1h"]
Section: TypeAlias = Literal["tools", "system", "messages"]

_IMAGE_TOKENS = 1_600  # a picture of about 1.1 megapixels, the largest taken before it is scaled
_DOCUMENT_TOKENS = 2_000


@dataclass(frozen=True, slots=True)
class Block:
    """One position of the prompt."""

    section: Section
    content: bytes  # exact, without its mark: a changed byte is another prefix
    tokens: int
    mark: Ttl | None
    cacheable: bool = True


def text_tokens(text: str, model: Model) -> int:
    """Return the estimated tokens of `text`."""
    return math.ceil(len(text) / model.chars_per_token)


def blocks_of(content: Any) -> Sequence[Mapping[str, Any]]:
    """Return content as blocks: a string is one text block."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content if isinstance(content, list) else []


def unmarked(value: Any) -> Any:
    """Return a block or message without the prompt-cache marks of its own and its content."""
    if not isinstance(value, Mapping):
        return value
    kept = {name: part for name, part in value.items() if name != "cache_control"}
    if isinstance(kept.get("content"), list):
        kept["content"] = [unmarked(part) for part in kept["content"]]
    return kept


def blocks(body: Mapping[str, Any], model: Model) -> list[Block]:
    """Return the prompt of a valid request in the order it is cached: tools, system, messages."""
    found = list(_marked(body, model))
    automatic = body.get("cache_control")
    if automatic is not None:
        for position in reversed(range(len(found))):
            if found[position].cacheable:
                found[position] = replace(found[position], mark=_ttl(automatic))
                break
    return found


def tokens(body: Mapping[str, Any], model: Model) -> int:
    """Return the estimated tokens of the whole prompt."""
    return sum(block.tokens for block in blocks(body, model))


def _marked(body: Mapping[str, Any], model: Model) -> Iterator[Block]:
    for tool in body.get("tools") or []:
        yield _block("tools", tool, model)
    for part in blocks_of(prompt_of(body)):
        yield _block("system", part, model)
    for message in body["messages"]:
        for part in blocks_of(message["content"]):
            yield _block("messages", part, model, role=message["role"])


def _block(section: Section, part: Mapping[str, Any], model: Model, role: str = "") -> Block:
    content = orjson.dumps([role, unmarked(part)])
    return Block(
        section,
        content,
        _tokens(part, content, model),
        mark=_mark(part),
        cacheable=part.get("type") not in ("thinking", "redacted_thinking"),
    )


def _tokens(part: Mapping[str, Any], content: bytes, model: Model) -> int:
    source = part.get("source")
    match part.get("type"):
        case "text":
            return max(1, text_tokens(part["text"], model))
        case "image":
            return _IMAGE_TOKENS
        case "document" if isinstance(source, Mapping) and source.get("type") != "text":
            return _DOCUMENT_TOKENS
        case _:
            return max(1, text_tokens(content.decode(), model))


def _mark(part: Mapping[str, Any]) -> Ttl | None:
    if part.get("cache_control") is not None:
        return _ttl(part["cache_control"])
    # A mark inside a tool result's content closes the prefix at that block.
    for inner in blocks_of(part.get("content")):
        if isinstance(inner, Mapping) and inner.get("cache_control") is not None:
            return _ttl(inner["cache_control"])
    return None


def _ttl(cache_control: Mapping[str, Any]) -> Ttl:
    return "1h" if cache_control.get("ttl") == "1h" else "5m"
