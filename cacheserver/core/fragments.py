"""Fragments that vary between otherwise equal prompts: times, dates, ids, names, numbers.

One such word in a system prompt makes every request another prefix to Claude's cache and another
scope to ours. Found by named patterns only; what is shown of one is its place, its kind and its
shape (`9999-99-99`), never its words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cacheserver.core import invisible_characters
from cacheserver.core.keyed_digests import NO_CONTENT, keyed
from cacheserver.core.rules.caching import FragmentKind
from cacheserver.core.types import Tenant

MOST_CHARS = 50_000  # of a system prompt that are looked through: some 20,000 tokens
MOST_FRAGMENTS = 64  # that are told apart; a prompt with more is a table, not a template

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
MOVED: Final = frozenset({"timestamp", "date", "uuid", "name"})  # numbers are rules more often


@dataclass(frozen=True, slots=True)
class Fragment:
    """One place in a text that may differ. `start` and `end` count characters."""

    start: int
    end: int
    kind: FragmentKind
    shape: str  # letters as `a` and `A`, digits as `9`; at most 40 characters
    digest: str  # of its words, so that two can be told apart


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A system prompt without what may differ in it."""

    digest: str  # hash of what is left, 32 hex digits
    fragments: tuple[Fragment, ...]


def skeleton(system: str) -> Skeleton:
    """A system prompt without its fragments, and the fragments."""
    looked = system[:MOST_CHARS]
    digest = hashlib.sha256()
    fragments: list[Fragment] = []
    at = 0
    for start, end, kind in _found(looked):
        digest.update(_kept(looked[at:start]).encode("utf-8", "surrogatepass"))
        digest.update(_hole(kind).encode())
        at = end
        if len(fragments) < MOST_FRAGMENTS:
            words = looked[start:end]
            mark = hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            fragments.append(Fragment(start, end, kind, _shape(words), mark))
    digest.update(_kept(system[at:]).encode("utf-8", "surrogatepass"))
    return Skeleton(digest.hexdigest()[:32], tuple(fragments))


def under(found: Skeleton, tenant: Tenant) -> Skeleton:
    """Return a skeleton as `tenant` stores it: without shapes of words where no content is kept."""
    if not tenant.no_content:
        return found
    parts = [
        replace(one, shape=NO_CONTENT, digest=keyed(tenant, one.digest)) for one in found.fragments
    ]
    return Skeleton(keyed(tenant, found.digest), tuple(parts))


def text_of(system: Any) -> str:
    """A body's system prompt as one text, its blocks on lines of their own."""
    if isinstance(system, str):
        return system
    if not isinstance(system, list):
        return ""
    return "\n".join(str(block.get("text", "")) for block in system if isinstance(block, Mapping))


def without_fragments(system: Any, kinds: Sequence[FragmentKind]) -> Any:
    """A body's system prompt for the scope, with fragments of these kinds left out.

    What comes back is only ever hashed. It has the shape that came: a string, or blocks.
    """
    if not kinds:
        return system
    if isinstance(system, str):
        return _holed(system, frozenset(kinds))
    if not isinstance(system, list):
        return system
    return [
        {**block, "text": _holed(block["text"], frozenset(kinds))}
        if isinstance(block, Mapping) and isinstance(block.get("text"), str)
        else block
        for block in system
    ]


def reordered(system: Any) -> list[dict[str, Any]] | None:
    """A system prompt with the lines that may differ behind those that stay; None: as it came.

    The words are all there, in two blocks; only whole lines move. Numbers stay where they are.
    """
    if isinstance(system, list):
        plain = all(
            isinstance(block, Mapping) and block.get("type") == "text" and len(block) == 2
            for block in system
        )
        if not plain:
            return None
    text = text_of(system)
    if not text or len(text) > MOST_CHARS:
        return None
    stable: list[str] = []
    moving: list[str] = []
    for line in text.split("\n"):
        kinds = {kind for _, _, kind in _found(line)}
        (moving if kinds & MOVED else stable).append(line)
    if not moving or not "".join(stable).strip():
        return None
    blocks = [
        {"type": "text", "text": "\n".join(stable)},
        {"type": "text", "text": "\n".join(moving)},
    ]
    if "\n".join((*stable, *moving)) == text:  # they stood at the end already: only the cut is new
        return None if isinstance(system, list) and len(system) > 1 else blocks
    return blocks


def _found(text: str) -> Iterator[tuple[int, int, FragmentKind]]:
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


def _holed(text: str, kinds: frozenset[FragmentKind]) -> str:
    pieces: list[str] = []
    at = 0
    for start, end, kind in _found(text):
        if kind in kinds:
            pieces += (_kept(text[at:start]), _hole(kind))
            at = end
    return "".join((*pieces, _kept(text[at:])))


def _kept(text: str) -> str:
    """A text that spells no hole, and no two the same."""
    return text.replace("\0", "\0\0")


def _hole(kind: FragmentKind) -> str:
    return f"\0{kind}\0"


def _shape(words: str) -> str:
    shape = re.sub(r"\d", "9", words[:40])
    shape = re.sub(r"[^\W\d_A-Z]", "a", shape)
    return re.sub(r"[A-Z]", "A", shape)
