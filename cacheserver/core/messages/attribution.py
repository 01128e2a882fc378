"""Attribution block of Claude Code: the first block of its system prompt, for Anthropic's accounts.

Claude Code states its version, how it was started and a checksum of the request there:
`x-anthropic-billing-header: cc_version=2.1.197.73f; cc_entrypoint=cli; cch=fa690;`. The checksum
differs from request to request, and nothing in the block is an instruction to Claude.

Rule: the block is forwarded as it came, in front of everything else, and is no part of what a
request asks. Only a first block with nothing but such fields is one; all else is a prompt. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

# `CLAUDE_CODE_ENTRYPOINT` is any word that a user sets; the other values are shorter.
_FIELD: Final = r"=[A-Za-z0-9._-]{1,64};"
_BEGINS: Final = "x-anthropic-billing-header: "
_TEXT: Final = re.compile(rf"{_BEGINS}cc_version{_FIELD}(?: cc[a-z_]{{1,32}}{_FIELD}){{0,16}}")
_KEYS: Final = frozenset({"type", "text", "cache_control"})


def attribution(system: Any) -> str | None:
    """Return the text of the attribution block that a system prompt begins with; None: it has none.

    `system` is as in a Messages body: a string, a list of blocks, or absent.
    """
    first = system[0] if isinstance(system, list) and system else {"type": "text", "text": system}
    match first:
        case {"type": "text", "text": str(text)} if text.startswith(_BEGINS):
            return text if first.keys() <= _KEYS and _TEXT.fullmatch(text) else None
    return None


def without_attribution(system: Any) -> Any:
    """Return a system prompt without its attribution block; the same value if it has none."""
    if attribution(system) is None:
        return system
    return system[1:] if isinstance(system, list) else []


def prompt_of(body: Mapping[str, Any]) -> Any:
    """Return what a body tells Claude as its system prompt."""
    return without_attribution(body.get("system"))
