"""Headers in which clients of Claude differ, and answers do not. Pure.

Rule: as in the body, a header of Claude's is part of a request's identity unless it is known not to
shape its answer, by name, value and, for the version, the body that it comes with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cacheserver.core.messages.blocks import blocks

BETA: Final = "anthropic-beta"  # a set, in any order

_VERSION: Final = "anthropic-version"
# Of these two, the later refuses more, and that is all; see "Migrating to API version 2026-10-21"
# in Anthropic's API reference. Streams, fields of answers and defaults are the same.
_ALIKE: Final = ("2023-06-01", "2026-10-21")
_SAMPLING: Final = frozenset({"temperature", "top_p", "top_k"})
# Claude answers with CORS headers then, to browsers alone: we forward no `Origin`.
BROWSER: Final = ("anthropic-dangerous-direct-browser-access", "true")


def shaping_headers(headers: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, str]:
    """Return Claude's headers that may shape the answer to `body`, without the betas.

    `headers` have lower-case names. A new one may shape answers, and the old ones do, or promise
    where and for whom an answer is made (workspace, user profile).
    """
    found = {
        name: value
        for name, value in headers.items()
        if name.startswith("anthropic-") and name != BETA and (name, value) != BROWSER
    }
    if found.get(_VERSION) in _ALIKE and _taken_by_both(body):
        found[_VERSION] = _ALIKE[-1]
    return found


def left_out(headers: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers, as sent, that `shaping_headers` leaves out or rewrites.

    Claude may still refuse a call for one of them.
    """
    kept = shaping_headers(headers, body)
    return {
        name: value
        for name, value in headers.items()
        if name.startswith("anthropic-") and name != BETA and kept.get(name) != value
    }


def _taken_by_both(body: Mapping[str, Any]) -> bool:
    """Return whether no version of `_ALIKE` refuses what the other takes. Doubt is a no."""
    if not _SAMPLING.isdisjoint(body):
        return False
    for message in body["messages"]:
        by_claude = message["role"] == "assistant"
        for block in blocks({"messages": [message]}):
            if block.get("type") == "document" if by_claude else block.get("citations"):
                return False
    return True
