"""LangChain's generations as the text of a stored answer, and back. Pure.

LangChain's own `loads` makes objects of any class that a text names. This makes messages alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict
from langchain_core.outputs import ChatGeneration, Generation

MOST_CHARS = 100_000  # of an answer that the server takes

# As the server stores answers of Claude: ended by themselves, and good for another caller.
_ENDED = frozenset({"end_turn", "stop_sequence", "tool_use"})
# Types of Anthropic's blocks, and of LangChain's own (`output_version="v1"`).
_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning"})
_LASTING_BLOCKS = frozenset({"text", "tool_use", "tool_call"}) | _THOUGHTS


def shareable(given: Sequence[Generation]) -> bool:
    """Return whether generations are whole, and depend on nothing but the prompt."""
    return bool(given) and all(
        _lasting(one.message) for one in given if isinstance(one, ChatGeneration)
    )


def _lasting(message: BaseMessage) -> bool:
    stop = message.response_metadata.get("stop_reason")
    if stop is not None and stop not in _ENDED:
        return False
    blocks = [] if isinstance(message.content, str) else message.content
    return all(isinstance(one, str) or one.get("type") in _LASTING_BLOCKS for one in blocks)


def write(given: Sequence[Generation]) -> str:
    """Return generations as text. Raises `TypeError` and `ValueError` for what cannot be stored."""
    text = json.dumps({"generations": [_as_fields(one) for one in given]}, allow_nan=False)
    if len(text) > MOST_CHARS:
        raise ValueError("longer than the server takes")
    return text


def read(text: str, *, thoughts: bool = True) -> list[Generation]:
    """Return what `write` was given. Raises `ValueError` for any other text.

    Without `thoughts`, thinking is left out: it belongs to the question it was written for.
    """
    try:
        found = [_of_fields(one) for one in json.loads(text)["generations"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no generations") from error
    return found if thoughts else [_without_thoughts(one) for one in found]


def _without_thoughts(one: Generation) -> Generation:
    if not isinstance(one, ChatGeneration) or isinstance(one.message.content, str):
        return one
    kept = [
        block
        for block in one.message.content
        if isinstance(block, str) or block.get("type") not in _THOUGHTS
    ]
    message = one.message.model_copy(update={"content": kept})
    return ChatGeneration(message=message, generation_info=one.generation_info)


def _as_fields(one: Generation) -> dict[str, Any]:
    shown = {"generation_info": one.generation_info}
    if isinstance(one, ChatGeneration):
        return {**shown, "message": message_to_dict(one.message)}
    return {**shown, "text": one.text}


def _of_fields(fields: dict[str, Any]) -> Generation:
    info = fields["generation_info"]
    if "message" in fields:
        (message,) = messages_from_dict([fields["message"]])
        return ChatGeneration(message=message, generation_info=info)
    return Generation(text=fields["text"], generation_info=info)
