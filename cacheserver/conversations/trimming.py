"""Trim older turns of a conversation, and put a summary in their place. Pure.

Rule: Claude accepts what is sent: it begins with a user's own words, a tool call keeps its result,
and no thinking block stays whose prefix has changed. Where that is impossible, nothing is trimmed.
"""

from __future__ import annotations

import hashlib
import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cacheserver.core import invisible_characters, json_text, thinking
from cacheserver.core.rules.history import HistoryRules
from cacheserver.pricing.estimate import chars_per_token

Turn = Mapping[str, Any]  # a message of the Messages API


@dataclass(frozen=True, slots=True)
class Cut:
    """`dropped` messages leave from the front; `kept` is what follows, fit to be sent."""

    dropped: tuple[Turn, ...]
    kept: tuple[Turn, ...]
    tokens: int  # input tokens of what is dropped, estimated


def cut(messages: Sequence[Turn], rules: HistoryRules, model: str) -> Cut | None:
    """Where to cut a conversation; None where it is short enough or must not be cut.

    Exchanges leave `rules.step` at a time, so at least `rules.keep` and fewer than `keep + step`
    of them stand before the question.
    """
    starts = _exchanges(messages)
    older = len(starts) - 1  # the last is the question's own
    leave = (older - rules.keep) // rules.step * rules.step
    if leave < 1:
        return None
    place = starts[leave]
    dropped, kept = tuple(messages[:place]), tuple(messages[place:])
    if any(turn.get("role") not in ("user", "assistant") for turn in dropped):
        return None  # an instruction in the middle of a conversation still holds at its end
    if _in_a_tool_loop(kept):
        return None  # there its thinking must go back as it came, and cannot
    bare = tuple(map(_without_thinking, kept))
    if any(not turn["content"] for turn in bare):
        return None
    return Cut(dropped, bare, tokens(dropped, model))


def tokens(messages: Sequence[Turn], model: str) -> int:
    """Input tokens of messages, estimated from their characters."""
    chars = sum(len(text) for turn in messages for text in _texts(turn.get("content")))
    return round(chars / chars_per_token(model))


def with_summary(kept: Sequence[Turn], summary: str) -> list[Turn]:
    """The kept turns, the first of them told what went before."""
    first, *rest = kept
    told = {"type": "text", "text": f"<earlier_conversation>\n{summary}\n</earlier_conversation>"}
    return [{**first, "content": [told, *_blocks(first["content"])]}, *rest]


def transcript(messages: Sequence[Turn]) -> str:
    """Turns as text to be summarised. What is no text is named, not shown."""
    lines = []
    for turn in messages:
        said = "\n".join(_shown(block) for block in _blocks(turn["content"]))
        lines.append(f"{turn['role']}: {said}")
    return "\n\n".join(lines)


def digest(messages: Sequence[Turn]) -> str:
    """The identity of turns, for the summary of them: hex SHA-256."""
    return hashlib.sha256(json_text.dumps(list(messages), sort_keys=True)).hexdigest()


def earlier_cut(messages: Sequence[Turn], rules: HistoryRules) -> int:
    """How many of `messages`, all dropped now, had been dropped one step before."""
    starts = [*_exchanges(messages), len(messages)]
    place = len(starts) - 1 - rules.step
    return starts[place] if place > 0 else 0


def remembered(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """Claude's answer as a turn to be sent again; None where nothing of it can be read."""
    blocks = message.get("content") or ()
    text = "".join(block.get("text", "") for block in blocks if block.get("type") == "text")
    return None if invisible_characters.blank(text) else {"role": "assistant", "content": text}


def growth(samples: Sequence[int]) -> float:
    """Input tokens that each turn of a conversation adds to the next: the median step.

    The median, because one pasted document is not a trend. 0.0 for fewer than three turns.
    """
    if len(samples) < 3:
        return 0.0
    return float(statistics.median(b - a for a, b in itertools.pairwise(samples)))


def bloated(samples: Sequence[int], *, times: float = 4.0, least: int = 8_000) -> bool:
    """Whether a conversation's prompts have grown past a measure worth telling.

    8,000 input tokens is a chat of some 20 long turns.
    """
    return len(samples) >= 3 and samples[-1] >= max(least, times * samples[0])


def _exchanges(messages: Sequence[Turn]) -> list[int]:
    """Where each exchange begins: at a user's own words, never at a tool's result."""
    return [
        place
        for place, turn in enumerate(messages)
        if turn.get("role") == "user"
        and not any(block.get("type") == "tool_result" for block in _blocks(turn["content"]))
        and (place == 0 or messages[place - 1].get("role") != "user")
    ]


def _in_a_tool_loop(kept: Sequence[Turn]) -> bool:
    """Whether the last exchange waits for the answer to a tool's result, with thinking in it."""
    last = kept[-1]
    if not any(block.get("type") == "tool_result" for block in _blocks(last["content"])):
        return False
    start = _exchanges(kept)[-1]
    return any(
        block.get("type") in thinking.BLOCK_TYPES
        for turn in kept[start:]
        for block in _blocks(turn["content"])
    )


def _without_thinking(turn: Turn) -> Turn:
    content = turn["content"]
    if turn["role"] != "assistant" or not isinstance(content, list):
        return turn
    kept = thinking.strip(content)
    return turn if len(kept) == len(content) else {**turn, "content": kept}


def _blocks(content: Any) -> list[Mapping[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, Mapping)]


def _shown(block: Mapping[str, Any]) -> str:
    match block.get("type"):
        case "text":
            return str(block.get("text", ""))
        case "tool_use":
            return f"[called the tool {block.get('name')}]"
        case "tool_result":
            said = " ".join(_texts(block.get("content")))
            return f"[the tool answered] {said}"
        case kind:
            return f"[{kind}]"


def _texts(content: Any) -> list[str]:
    """Every text in a content, those inside tool results and calls included."""
    if isinstance(content, str):
        return [content]
    found: list[str] = []
    for block in content or ():
        if not isinstance(block, Mapping):
            continue
        if isinstance(block.get("text"), str):
            found.append(block["text"])
        if isinstance(block.get("thinking"), str):
            found.append(block["thinking"])
        if "input" in block:
            found.append(json_text.dumps(block["input"]).decode())
        if "content" in block:
            found += _texts(block["content"])
    return found
