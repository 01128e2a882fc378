"""Skeleton of a system prompt: what stays when its varying fragments are left out. Pure.

What is shown of a fragment is its place, its kind and its shape (`9999-99-99`), never its words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from cacheserver.core.fragments import escape, find_fragments, placeholder
from cacheserver.core.keyed_digests import NO_CONTENT, keyed
from cacheserver.core.rules.caching import FragmentKind
from cacheserver.core.types import Tenant

MOST_CHARS: Final = 50_000  # of a system prompt that are looked through: some 20,000 tokens
MOST_FRAGMENTS: Final = 64  # that are told apart; a prompt with more is a table, not a template
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
    """Return the skeleton of a system prompt."""
    looked = system[:MOST_CHARS]
    digest = hashlib.sha256()
    fragments: list[Fragment] = []
    at = 0
    for start, end, kind in find_fragments(looked):
        digest.update(escape(looked[at:start]).encode("utf-8", "surrogatepass"))
        digest.update(placeholder(kind).encode())
        at = end
        if len(fragments) < MOST_FRAGMENTS:
            words = looked[start:end]
            mark = hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            fragments.append(Fragment(start, end, kind, _shape(words), mark))
    digest.update(escape(system[at:]).encode("utf-8", "surrogatepass"))
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
    """Return a body's system prompt as one text, its blocks on lines of their own."""
    if isinstance(system, str):
        return system
    if not isinstance(system, list):
        return ""
    return "\n".join(str(block.get("text", "")) for block in system if isinstance(block, Mapping))


def reordered(system: Any) -> list[dict[str, Any]] | None:
    """Return a system prompt with the lines that vary after those that stay.

    Whole lines move, and every word stays; lines that vary in numbers only do not move. None if
    there is nothing to move.
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
        kinds = {kind for _, _, kind in find_fragments(line)}
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


def _shape(words: str) -> str:
    shape = re.sub(r"\d", "9", words[:40])
    shape = re.sub(r"[^\W\d_A-Z]", "a", shape)
    return re.sub(r"[A-Z]", "A", shape)
