"""Prompt-cache warmth: which prefixes Claude's prompt cache would hold without this cache.

A hit calls nobody, so no usage says what its miss would have read from Claude's prompt cache.
Without this cache, every request would have been a call that kept its prefix warm. So a prefix
counts as warm if the last request with it, hit or miss, came within its lifetime. This estimates a
hit's saving low rather than high. Each process knows its own requests only, and the time of the
call that made the entry.
"""

from __future__ import annotations

from collections import OrderedDict

from cacheserver.core.types import Entry, Usage

_REMEMBERED = 20_000  # scopes, about 4 MB
_LIFETIME_S = (300.0, 3_600.0)


class PromptCacheWarmth:
    """Time of the last request by scope."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, float] = OrderedDict()

    def note(self, scope: str, usage: Usage, now: float) -> None:
        """Record a request; `usage` is that of its call, or of the answer that was hit."""
        if not _marked(usage):
            return
        self._seen[scope] = now
        self._seen.move_to_end(scope)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def warm(self, scope: str, entry: Entry, now: float) -> bool:
        """Return whether a miss instead of the hit on `entry` would find its prefix cached."""
        if not _marked(entry.usage):
            return False
        last = self._seen.get(scope, entry.created_at)
        return now - last < _LIFETIME_S[entry.usage.cache_write_1h_tokens > 0]


def _marked(usage: Usage) -> int:
    return usage.cache_read_tokens + usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
