"""Rules for trimming: which older turns may be left out, and how the rest is sent. Pure.

Rule: the result is a conversation that Claude accepts: it begins with a user's own words, a tool
call keeps its result, and no thinking block remains whose prefix has changed
(https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking). If that is impossible the
conversation is sent unchanged.
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
    """Cut of a conversation: `dropped` messages from the front, the `remaining` can be sent."""

    dropped: tuple[Turn, ...]
    remaining: tuple[Turn, ...]
    tokens: int  # input tokens of what is dropped, estimated


def cut(messages: Sequence[Turn], rules: HistoryRules, model: str) -> Cut | None:
    """Return where to cut a conversation; None if it is short enough or must not be cut.

    Exchanges are dropped `rules.step` at a time, so at least `rules.keep` and fewer than
    `keep + step` of them precede the question.
    """
    starts = _exchanges(messages)
    older = len(starts) - 1  # the last is the question's own
    leave = (older - rules.keep) // rules.step * rules.step
    if leave < 1:
        return None
    place = starts[leave]
    dropped, remaining = tuple(messages[:place]), tuple(messages[place:])
    if any(turn.get("role") not in ("user", "assistant") for turn in dropped):
        return None  # an instruction in the middle holds until the end
    if _in_a_tool_loop(remaining):
        return None  # its thinking must be sent back unchanged, and a cut would change it
    bare = tuple(map(_without_thinking, remaining))
    if any(not turn["content"] for turn in bare):
        return None
    return Cut(dropped, bare, tokens(dropped, model))


def tokens(messages: Sequence[Turn], model: str) -> int:
    """Estimate the input tokens of messages from their characters."""
    chars = sum(len(text) for turn in messages for text in _texts(turn.get("content")))
    return round(chars / chars_per_token(model))


def with_summary(turns: Sequence[Turn], summary: str) -> list[Turn]:
    """Return the kept turns, with the summary in front of the first."""
    first, *rest = turns
    block = {"type": "text", "text": f"<earlier_conversation>\n{summary}\n</earlier_conversation>"}
    return [{**first, "content": [block, *_blocks(first["content"])]}, *rest]


def transcript(messages: Sequence[Turn]) -> str:
    """Return turns as text to be summarised. Content other than text is only named."""
    lines = []
    for turn in messages:
        text = "\n".join(_shown(block) for block in _blocks(turn["content"]))
        lines.append(f"{turn['role']}: {text}")
    return "\n\n".join(lines)


def digest(messages: Sequence[Turn]) -> str:
    """Return the hex SHA-256 of turns, the key of their summary."""
    return hashlib.sha256(json_text.dumps(list(messages), sort_keys=True)).hexdigest()


def earlier_cut(messages: Sequence[Turn], rules: HistoryRules) -> int:
    """Return how many of `messages`, all dropped now, were dropped one step before."""
    starts = [*_exchanges(messages), len(messages)]
    place = len(starts) - 1 - rules.step
    return starts[place] if place > 0 else 0


def remembered(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return Claude's answer as a turn to send again; None if it has nothing to send."""
    blocks = message.get("content") or ()
    text = "".join(block.get("text", "") for block in blocks if block.get("type") == "text")
    return None if invisible_characters.blank(text) else {"role": "assistant", "content": text}


def growth(samples: Sequence[int]) -> float:
    """Return the input tokens that each turn adds to the next prompt: the median step.

    The median, because one pasted document is not a trend. 0.0 for fewer than three turns.
    """
    if len(samples) < 3:
        return 0.0
    return float(statistics.median(b - a for a, b in itertools.pairwise(samples)))


def bloated(samples: Sequence[int], *, times: float = 4.0, least: int = 8_000) -> bool:
    """Return whether a conversation's prompts have grown so long that the operator should know."""
    return len(samples) >= 3 and samples[-1] >= max(least, times * samples[0])


def _exchanges(messages: Sequence[Turn]) -> list[int]:
    """Return where each exchange begins: at a user's own words, never at a tool's result."""
    return [
        place
        for place, turn in enumerate(messages)
        if turn.get("role") == "user"
        and not any(block.get("type") == "tool_result" for block in _blocks(turn["content"]))
        and (place == 0 or messages[place - 1].get("role") != "user")
    ]


def _in_a_tool_loop(turns: Sequence[Turn]) -> bool:
    """Return whether the last exchange, with thinking in it, waits for a tool's answer."""
    last = turns[-1]
    if not any(block.get("type") == "tool_result" for block in _blocks(last["content"])):
        return False
    start = _exchanges(turns)[-1]
    return any(
        block.get("type") in thinking.BLOCK_TYPES
        for turn in turns[start:]
        for block in _blocks(turn["content"])
    )


def _without_thinking(turn: Turn) -> Turn:
    content = turn["content"]
    if turn["role"] != "assistant" or not isinstance(content, list):
        return turn
    blocks = thinking.strip(content)
    return turn if len(blocks) == len(content) else {**turn, "content": blocks}


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
            text = " ".join(_texts(block.get("content")))
            return f"[the tool answered] {text}"
        case kind:
            return f"[{kind}]"


def _texts(content: Any) -> list[str]:
    """Return every text in a content, including tool results and calls."""
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
