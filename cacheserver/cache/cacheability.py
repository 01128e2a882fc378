"""Cacheability: what may be matched by similarity, what may be shared, what may be stored.

Doubt is a refusal: a kind of tool, block or stop reason that is not listed here is not cached.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cacheserver.core import invisible_characters, json_text, thinking
from cacheserver.core.messages.blocks import blocks

# Stateful or time-dependent by nature: the same request need not get the same answer.
_EDITING = "context_management"
_STATEFUL_FIELDS = {
    "container": "container",
    "mcp_servers": "mcp",
    "thread": "thread",
    "compaction": "compaction",
    _EDITING: "context-management",
    "fallbacks": "fallbacks",
}
# As Claude Code sends it: the edit clears no thinking. It is part of the fingerprint all the same:
# without it, some models see less of earlier turns.
_KEEPS_ALL = tuple(
    {"edits": [{"type": "clear_thinking_20251015", "keep": keep}]}
    for keep in ("all", {"type": "all"})
)
# Tools that the caller runs; every other typed tool runs at Anthropic.
_CLIENT_TOOLS = ("custom", "bash_", "text_editor_", "computer_", "memory_")

# Blocks of earlier turns that do not prevent similarity: the scope contains them exactly.
_PLAIN_BLOCKS = thinking.BLOCK_TYPES | {"text"}
_EXACT_ONLY = {
    "image": "image",
    "document": "document",
    "search_result": "document",
    "tool_use": "tools",
    "tool_result": "tool-result",
}

_STORABLE_STOPS = frozenset({"end_turn", "stop_sequence", "tool_use"})
_STORABLE_BLOCKS = thinking.BLOCK_TYPES | {"text", "tool_use"}
# Prefixes of the ids of the simulated Claude's answers: it quoted the question, or wrote the number
# of words it was asked for (`simulated.claude`).
_ECHO, _PROSE = "msg_simecho", "msg_simprose"
# The levers take 2 to 4 us for each on the event loop: 40 ms for this many. Conversations of people
# stay below 2,000 messages.
_MOST_PARTS = 10_000
# A text block that begins with a visible character: ASCII, Latin, Cyrillic, Chinese, Japanese or
# Korean by the first byte. Within a JSON string the quotes would be escaped, so it matches blocks
# alone, or the input of a tool's use, which is content as well.
_BEGINS = re.compile(rb'"text": ?"(?:\\n| ){0,4}[!#-\[\]-~\xc3-\xc9\xd0\xd1\xe4-\xe9\xeb\xec]')


def bypass(body: Mapping[str, Any]) -> str | None:
    """The reason why a request's answer may be neither shared nor stored; None if it may."""
    for field, reason in _STATEFUL_FIELDS.items():
        if body.get(field) and not (field == _EDITING and body[field] in _KEEPS_ALL):
            return reason
    if body.get("max_tokens") == 0:
        return "max-tokens-0"  # warms Claude's prompt cache; there is no answer
    for tool in body.get("tools") or ():
        kind = tool.get("type")
        if kind is not None and not (isinstance(kind, str) and kind.startswith(_CLIENT_TOOLS)):
            return "server-tools"
    for block in blocks(body):
        source = block.get("source")
        if isinstance(source, dict) and source.get("type") == "url":
            return "url-source"  # the content at the address may change
    return None


def exact_only(body: Mapping[str, Any]) -> str | None:
    """The tools or kind of content for which a body is matched exactly only; None if it is not."""
    if body.get("tools"):
        return "tools"
    for block in blocks(body):
        if (kind := block.get("type")) not in _PLAIN_BLOCKS:
            return _EXACT_ONLY.get(str(kind), "unknown-block")
    return None


def question(body: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The last user text if it may be matched by similarity, else the reason: one is None."""
    if (reason := exact_only(body)) is not None:
        return None, reason
    last = body["messages"][-1]
    if last["role"] != "user":
        return None, "prefill"
    content = last["content"]
    if isinstance(content, list):
        if not content or content[-1]["type"] != "text":
            return None, "no-text"
        content = content[-1]["text"]
    if not content.strip():
        return None, "no-text"
    return content, None


def crowded(body: Mapping[str, Any]) -> bool:
    """Return True if a body has more messages and blocks than levers inspect."""
    turns = [one["content"] for one in body["messages"]]
    parts = [*turns, body.get("system"), body.get("tools")]
    return sum(len(part) if isinstance(part, list) else 1 for part in parts) > _MOST_PARTS


def batchable(body: Mapping[str, Any]) -> bool:
    """Return whether the Message Batches API, at half the price, accepts this request."""
    barred = any(body.get(field) for field in ("stream", "speed", "thread"))
    return not barred and body.get("max_tokens") != 0


def made_up(message: Mapping[str, Any]) -> bool:
    """Return True if the simulated Claude made up an answer: nothing is learned from that.

    It says so in the id, which no caller can choose and which every way to it hands on.
    """
    return str(message.get("id")).startswith((_ECHO, _PROSE))


def made_up_length(message: Mapping[str, Any]) -> bool:
    """Return True if the simulated Claude also chose the length of an answer."""
    return str(message.get("id")).startswith(_ECHO)


def unstorable(message: Mapping[str, Any]) -> str | None:
    """The reason why Claude's answer must not be stored; None if it may be."""
    if message.get("type") != "message" or not isinstance(message.get("usage"), dict):
        return "malformed"
    if (stop := message.get("stop_reason")) not in _STORABLE_STOPS:
        return f"stop-{stop}" if isinstance(stop, str) else "malformed"
    if message.get("container"):
        return "container"
    edited = message.get(_EDITING)
    if edited is not None and edited != {"applied_edits": []}:
        return "context-management"
    content = message.get("content")
    if not isinstance(content, list) or not content:
        return "no-content"
    for block in content:
        if not isinstance(block, dict) or block.get("type") not in _STORABLE_BLOCKS:
            return "block"
        if block["type"] == "text" and not isinstance(block.get("text"), str):
            return "malformed"
    uses = any(block["type"] == "tool_use" for block in content)
    if stop == "tool_use" and not uses:
        return "malformed"
    return None if _says_something(content) else "no-content"


def has_content(message: bytes) -> bool:
    """Return True if a stored message has content: an older version stored empty ones, too.

    Blanks, invisible characters and thinking are no content; a number, `{}` or a full stop is.
    """
    if _BEGINS.search(message) is not None:  # most match, and a look-up checks ten of them
        return True
    content = json_text.loads(message).get("content")
    return isinstance(content, list) and _says_something(content)


def _says_something(content: list[Any]) -> bool:
    return any(
        block.get("type") == "tool_use"
        or (
            block.get("type") == "text"
            and not invisible_characters.blank(str(block.get("text") or ""))
        )
        for block in content
        if isinstance(block, dict)
    )
