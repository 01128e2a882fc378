"""LangChain's prompts as questions: what may be compared by similarity, and all the rest. Pure.

Rule: question and scope together determine prompt and model, so nothing else is ever shared.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

# Among a model's parameters: its answers may be calls, whose arguments depend on each word.
_TOOLS = ("tools", "functions")
_PLAIN_ROLES = frozenset({"SystemMessage", "HumanMessage", "AIMessage"})
_NO_TEXT = "(no text)"  # an image alone, for example; the server takes no empty question


@dataclass(frozen=True, slots=True)
class Question:
    """One question to the server."""

    text: str  # embedded, and shown to operators
    scope: str  # digest of the rest; equal where answers may be shared


def question(prompt: str, llm_string: str, *, semantic: bool) -> Question:
    """Read a prompt, as `BaseCache` gets it: messages in LangChain's JSON, or plain text.

    With `semantic`, the scope leaves out the text; without, it has the whole prompt.
    """
    before, text, after = _parted(prompt)
    words = text is not None and bool(text.strip())
    similar = semantic and words and not any(field in llm_string for field in _TOOLS)
    rest = ["similar", before, after] if similar else ["exact", prompt]
    packed = json.dumps([llm_string, *rest]).encode()
    digest = hashlib.sha256(packed).hexdigest()
    return Question(text if text is not None and words else _NO_TEXT, f"langchain {digest}")


def _parted(prompt: str) -> tuple[str, str | None, str]:
    """Return what is before the last text, the text, and what is after it.

    The text is None if similarity may not compare it.
    """
    try:
        messages = json.loads(prompt)
    except (ValueError, RecursionError):  # what people write, or brackets by the thousand
        return "", prompt, ""
    if not isinstance(messages, list) or (text := _last_text(messages)) is None:
        return "", None, ""
    # Where the same words occur again later, that place is parted: it is as exact.
    before, found, after = prompt.rpartition(json.dumps(text))
    return (before, text, after) if found else ("", None, "")


def _last_text(messages: list[Any]) -> str | None:
    """Return the text of the last message; None unless all are plain text, the last a person's."""
    text = role = None
    for message in messages:
        match message:
            case {"lc": 1, "id": [*_, role], "kwargs": {"content": content, **more}}:
                text = _only_text(content)
            case _:
                return None
        if text is None or str(role) not in _PLAIN_ROLES or more.get("tool_calls"):
            return None
    return text if role == "HumanMessage" else None


def _only_text(content: Any) -> str | None:
    """Return a content's last text; None if it has anything but text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        return None
    texts = [one.get("text") if _is_text(one) else one for one in content]
    return texts[-1] if all(isinstance(one, str) for one in texts) else None


def _is_text(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "text"
