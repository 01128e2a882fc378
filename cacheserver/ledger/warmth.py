"""Which prompts Claude's prompt cache would know by now, had every request been asked.

A hit asks nobody, so nothing tells what its miss would have read from Claude's prompt cache. But
without us each of these requests would have been a call that kept its prefix warm: a prefix is
warm if the last request with it, hit or miss, came within the lifetime it was written with. That
counts a hit's saving low rather than high. In this process only: of another server's requests
nothing is known, but for the call that made the entry.
"""

from __future__ import annotations

from collections import OrderedDict

from cacheserver.core.types import Entry, Usage

_REMEMBERED = 20_000  # scopes, about 4 MB
_LIFETIME_S = (300.0, 3_600.0)


class PromptCacheWarmth:
    """When each scope was last asked in."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, float] = OrderedDict()

    def note(self, scope: str, usage: Usage, now: float) -> None:
        """A request of that scope came; `usage` is its call's, or that of the answer it hit."""
        if not _marked(usage):
            return
        self._seen[scope] = now
        self._seen.move_to_end(scope)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def warm(self, scope: str, entry: Entry, now: float) -> bool:
        """Whether a miss in place of a hit on `entry` would find its prefix still kept."""
        if not _marked(entry.usage):
            return False
        last = self._seen.get(scope, entry.created_at)
        return now - last < _LIFETIME_S[entry.usage.cache_write_1h_tokens > 0]


def _marked(usage: Usage) -> int:
    return usage.cache_read_tokens + usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
