"""Thinking blocks of messages.

Claude binds a thinking block to the exact prompt it was written for: sent back after any other, it
is refused (https://docs.claude.com/en/docs/build-with-claude/extended-thinking).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

BLOCK_TYPES: Final = frozenset({"thinking", "redacted_thinking"})


def strip(content: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The content blocks of a message without its thinking."""
    return [block for block in content if block.get("type") not in BLOCK_TYPES]
