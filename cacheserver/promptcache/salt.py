"""A tenant's salt in front of what is planned for Claude's prompt cache.

Claude's cache is shared by all who use one account, and `cache_read_input_tokens` tells whoever
asks with a prefix whether it was there. Prefixes run from tools over system to messages; the salt
is the first system block, and no mark stands before it, so every prefix that is written for a
tenant holds its salt and nobody else's request can match it. Pure.

It changes the words Claude reads, and nothing that an answer is stored or found under: exact key
and scope are those of the body as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cacheserver.pricing.estimate import chars_per_token
from cacheserver.promptcache.layout import Layout

_DIGITS = 16  # 64 bits: not to be guessed, and few tokens


def salted(body: Mapping[str, Any], salt: str) -> dict[str, Any]:
    """Return the body with the salt as its first system block."""
    system = body.get("system") or []
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    return {**body, "system": [{"type": "text", "text": _line(salt)}, *blocks]}


def behind(layout: Layout) -> Layout:
    """Return the layout without the places before the salt."""
    return replace(layout, spots=tuple(spot for spot in layout.spots if spot.kind != "tools"))


def tokens(model: str) -> float:
    """Return what the salt adds to each planned call, estimated."""
    return len(_line("0" * _DIGITS)) / chars_per_token(model)


def _line(salt: str) -> str:
    return f"Ignore this line: {salt[:_DIGITS]}"
