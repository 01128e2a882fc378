"""Infers the type of work of a request, by rules of thumb. English mostly. Pure.

A name that the caller gives goes before any guess; if no rule fits, the type is None. A guess sets
a tier or a cap, never the key of a stored answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from cacheserver.core.tasks import blocks_of
from cacheserver.routing.task_cues import CUES, QUESTION, starts

# An instruction is before or after its material: a pasted page between them is not read.
_EDGE_CHARS: Final = 200
_PARAGRAPH_CHARS: Final = 160  # two lines: instructions are seldom longer
_QUOTED: Final = re.compile(r"[\"“„«][^\"“”«»]{25,}(?:[\"”“»]|$)")
# A question this short that has no other cue asks for a fact or a definition.
_SHORT_WORDS: Final = 14


def infer_task(body: Mapping[str, Any], text: str | None) -> str | None:
    """Return the type of work, or None if no rule fits. Some 30 microseconds.

    `text` is the last user text; None: it is looked for in the body. A JSON schema for the answer
    decides first, because the answer must fit it.
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
    """Return the beginning and the end of a text, in lower case: its instruction is there.

    Short paragraphs instruct; long paragraphs and long quotations are the material, and are left
    out.
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
    """Return the last text block of the last user turn."""
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
