"""Content blocks of a Messages body. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def blocks(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All content blocks of all turns, including those inside tool results."""
    waiting = [m["content"] for m in body["messages"]]
    while waiting:
        content = waiting.pop()
        if not isinstance(content, list):
            continue
        for block in content:
            if isinstance(block, dict):
                yield block
                waiting.append(block.get("content"))
