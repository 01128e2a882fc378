"""Salt of a tenant, in front of everything planned for Claude's prompt cache. Pure.

Claude's cache is shared by all who use one account, and `cache_read_input_tokens` reveals whether a
prefix was there. Prefixes run from tools over system to messages; the salt is the first system
block, or the second where Claude Code's attribution must be the first, and no mark is set before
it, so every prefix written for a tenant holds its salt, and no other tenant's request can match it.

It changes the words that Claude reads, not where an answer is stored or found: exact key and scope
are those of the original body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cacheserver.core.messages.attribution import without_attribution
from cacheserver.pricing.estimate import chars_per_token
from cacheserver.promptcache.layout import Layout

_DIGITS = 16  # 64 bits: not to be guessed, and few tokens


def salted(body: Mapping[str, Any], salt: str) -> dict[str, Any]:
    """Return the body with the salt in front of its system prompt."""
    system = body.get("system") or []
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    rest = without_attribution(blocks)
    first = blocks[: len(blocks) - len(rest)]
    return {**body, "system": [*first, {"type": "text", "text": _line(salt)}, *rest]}


def without_tools(layout: Layout) -> Layout:
    """Return the layout without the positions before the salt."""
    return replace(layout, spots=tuple(spot for spot in layout.spots if spot.kind != "tools"))


def tokens(model: str) -> float:
    """Return the estimated tokens that the salt adds to each planned call."""
    return len(_line("0" * _DIGITS)) / chars_per_token(model)


def _line(salt: str) -> str:
    return f"Ignore this line: {salt[:_DIGITS]}"
