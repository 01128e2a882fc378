"""Fragments that vary between otherwise equal prompts: times, dates, ids, names, numbers.

One such word in a system prompt makes every request another prefix to Claude's cache and another
scope to ours. They are found by named patterns only. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cacheserver.core import invisible_characters
from cacheserver.core.rules.caching import FragmentKind

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sep(?:t(?:ember)?)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:\s?[AaPp]\.?[Mm]\b\.?)?"
_ZONE = r"(?:\s?(?:Z|UTC|GMT)(?:[+-]\d{1,2}(?::?\d{2})?)?|\s?[+-]\d{2}:?\d{2})?"
_DAY = (
    r"(?:\d{4}-\d{2}-\d{2}|\d{4}/\d{2}/\d{2}|\d{1,2}[./]\d{1,2}[./]\d{4}"
    rf"|{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}}|\d{{1,2}}\.?\s+{_MONTH},?\s+\d{{4}})"
)
_WEEKDAY = r"(?:(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?,?\s+)?"

# Tried in this order at each place, so a time with its date is one fragment and not two. Every
# pattern is bounded: none can take more than linear time.
_PATTERN: Final = re.compile(
    "|".join(
        (
            rf"(?P<timestamp>\b{_WEEKDAY}{_DAY}(?:[T ,]|\s+at\s+|,\s){{1,2}}{_CLOCK}{_ZONE}"
            rf"|\b{_CLOCK}{_ZONE}|\b1[5-9]\d{{8}}(?:\d{{3}})?\b)",
            rf"(?P<date>\b{_WEEKDAY}{_DAY}\b)",
            r"(?P<uuid>\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"
            r"|\b(?=[a-f]{0,31}\d)[0-9a-f]{16,64}\b|\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b"
            r"|\b[a-z]{2,12}_(?=[A-Za-z]{0,63}\d)[A-Za-z0-9]{8,64}\b)",
            r"(?P<name>\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}\b"
            r"|(?i:\b(?:user(?:\s?name)?|customer|client|name|assist(?:ing)?|help(?:ing)?"
            r"|talking\sto|speaking\swith|hello|dear|hi)\b\s{0,3}(?:is\b|:|=)?\s{0,3})"
            r"(?P<who>[A-Z][\w'-]{1,30}(?:\s[A-Z][\w'-]{1,30}){0,2}))",
            r"(?P<number>\b\d{1,15}(?:[.,]\d{1,15}){0,4}\b)",
        )
    )
)
_KINDS: Final[tuple[FragmentKind, ...]] = ("timestamp", "date", "uuid", "name", "number")
# Words that come after "user" or "help" in instructions, and are nobody's name.
_NO_NAMES = frozenset(
    {"The", "A", "An", "If", "When", "You", "Your", "I", "It", "This", "That", "Always", "Never"}
    | {"Do", "Answer", "Ask", "Be", "Use", "Please", "Then", "Claude", "Assistant", "Center"}
)
# Most of a prompt holds nothing that could be one: it is passed over sentence by sentence, at a
# tenth of the cost. The length bounds what a pattern can be led to try.
_PIECE: Final = re.compile(r".{1,400}?(?:[.!?;]\s+|\n+|$)|.{400}", re.DOTALL)
_HINT: Final = re.compile(r"[\d@]")
_NAME_HINTS = ("user", "customer", "client", "name", "assist", "help", "talking to")
_GREETINGS = ("speaking with", "hello ", "dear ", "hi ")


def without_fragments(system: Any, kinds: Sequence[FragmentKind]) -> Any:
    """Return a body's system prompt with placeholders for fragments of these kinds.

    The result has the shape of `system`, a string or blocks, and is for hashing only.
    """
    if not kinds:
        return system
    if isinstance(system, str):
        return _without(system, frozenset(kinds))
    if not isinstance(system, list):
        return system
    return [
        {**block, "text": _without(block["text"], frozenset(kinds))}
        if isinstance(block, Mapping) and isinstance(block.get("text"), str)
        else block
        for block in system
    ]


def find_fragments(text: str) -> Iterator[tuple[int, int, FragmentKind]]:
    """Yield start, end and kind of each fragment, in order."""
    for piece in _PIECE.finditer(text):
        words, offset = piece[0], piece.start()
        if _HINT.search(words) is None:
            low = words.lower()
            if not any(hint in low for hint in (*_NAME_HINTS, *_GREETINGS)):
                continue
        for match in _PATTERN.finditer(words):
            kind = next(kind for kind in _KINDS if match[kind] is not None)
            start, end = match.span("who") if match["who"] is not None else match.span()
            if invisible_characters.found(
                words[start:end]
            ):  # it would be lost with the words around it
                continue
            if match["who"] is None or match["who"].split()[0] not in _NO_NAMES:
                yield offset + start, offset + end, kind


def _without(text: str, kinds: frozenset[FragmentKind]) -> str:
    pieces: list[str] = []
    at = 0
    for start, end, kind in find_fragments(text):
        if kind in kinds:
            pieces += (escape(text[at:start]), placeholder(kind))
            at = end
    return "".join((*pieces, escape(text[at:])))


def escape(text: str) -> str:
    """Return a text without placeholders; different texts stay different."""
    return text.replace("\0", "\0\0")


def placeholder(kind: FragmentKind) -> str:
    return f"\0{kind}\0"
