"""The types of work: their names, and rules of thumb for which one a request is.

Rule: a name the caller gives goes before any guess, and what fits no rule is None. A guess sets a
tier or a cap, never what an answer is stored under.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cacheserver.core.task_cues import CUES, QUESTION, starts

# Every task name there is; an operator's rules may add more.
TASKS: Final[tuple[str, ...]] = (
    "classification",
    "extraction",
    "short_qa",
    "general_chat",
    "support",
    "translation",
    "summarisation",
    "writing",
    "analysis",
    "code",
    "code_review",
    "math",
    "planning",
    "reasoning",
    "balanced_reasoning",
    "code_assistance",
    "complex_reasoning",
    "multi_step_planning",
    "advanced_code_gen",
)

_ALIASES: Final[Mapping[str, str]] = {
    "summarization": "summarisation",
    "summary": "summarisation",
    "tagging": "classification",
    "chat": "general_chat",
    "qa": "short_qa",
    "faq": "short_qa",
    "coding": "code",
    "code_generation": "code",
    "maths": "math",
}

# An instruction stands before or after what it is about; a pasted page between them says nothing.
_EDGE_CHARS: Final = 200
_PARAGRAPH_CHARS: Final = 160  # two lines: an instruction is seldom longer
_QUOTED: Final = re.compile(r"[\"“„«][^\"“”«»]{25,}(?:[\"”“»]|$)")
# A question this short that has no other cue asks for a fact or a definition.
_SHORT_WORDS: Final = 14


def canonical(name: str) -> str:
    """A task's name as our tables have it; a name that nobody knows stays as it is."""
    plain = name.lower().replace("-", "_")
    plain = _ALIASES.get(plain, plain)
    return plain if plain in TASKS else name


def infer(body: Mapping[str, Any], text: str | None) -> str | None:
    """The type of work, by rules of thumb; None where none fits.

    `text` is the last user text where it is known, else it is looked for. English mostly. A
    schema for the answer decides first: whatever is said, only what fits it can come back. Some
    30 microseconds.
    """
    if (asked := _by_format(body)) is not None:
        return asked
    if text is None:
        text = last_text(body)
    if not text or not text.strip():
        return None
    read = edges(text)
    begun = starts(read)
    for cue in CUES:
        if not cue.starts.isdisjoint(begun) and cue.pattern.search(read):
            return cue.task
    short = len(text) < 12 * _SHORT_WORDS and len(text.split()) <= _SHORT_WORDS
    return "short_qa" if short and (QUESTION.search(read) or read.endswith("?")) else None


def edges(text: str) -> str:
    """The beginning and the end of a text, in lower case: where its instruction stands.

    Of paragraphs the short ones instruct and the long ones are what it is about; so is what is
    quoted at length. Both are left out.
    """
    if len(text) > 2 * _EDGE_CHARS:
        text = f"{text[:_EDGE_CHARS]}\n{text[-_EDGE_CHARS:]}"
    first, gap, rest = text.strip().partition("\n\n")
    if gap:
        last = rest.rpartition("\n\n")[2]
        short, long = sorted((first, last), key=len)
        text = f"{first}\n{last}" if len(long) <= _PARAGRAPH_CHARS else short
    return _QUOTED.sub('""', text.lower().strip())


def last_text(body: Mapping[str, Any]) -> str | None:
    """The last text block of the last user turn, whatever else stands in it."""
    for message in reversed(body.get("messages") or ()):
        if message.get("role") != "user":
            continue
        content = message.get("content")
        if isinstance(content, str):
            return content
        for block in reversed(list(blocks_of(content))):
            if block.get("type") == "text" and isinstance(block.get("text"), str):
                return str(block["text"])
        return None
    return None


def _by_format(body: Mapping[str, Any]) -> str | None:
    """Return the task that an answer's JSON schema implies: an enum is a class, the rest fields."""
    config = body.get("output_config")
    form = config.get("format") if isinstance(config, Mapping) else None
    if not isinstance(form, Mapping) or form.get("type") != "json_schema":
        return None
    schema = form.get("schema")
    parts = schema.get("properties") if isinstance(schema, Mapping) else None
    if isinstance(parts, Mapping) and len(parts) == 1:
        (part,) = parts.values()
        if isinstance(part, Mapping) and ("enum" in part or part.get("type") == "boolean"):
            return "classification"
    return "extraction"


def blocks_of(content: Any) -> Iterator[Mapping[str, Any]]:
    """The objects in a list; nothing where it is no list."""
    if isinstance(content, list):
        yield from (block for block in content if isinstance(block, Mapping))
