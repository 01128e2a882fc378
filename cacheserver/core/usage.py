"""Claude's `usage` read into tokens by kind. Imports nothing heavy: the client reads it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cacheserver.core.types import Usage


def usage_of(message: Mapping[str, Any]) -> Usage:
    """The usage Claude put in a message. What is missing, null or no count is 0."""
    reported = _mapping(message.get("usage"))
    usage = replace(
        _tokens(reported),
        web_searches=_count(_mapping(reported.get("server_tool_use")).get("web_search_requests")),
        service_tier=_word(reported.get("service_tier"), "standard"),
        speed=_word(reported.get("speed"), "standard"),
        inference_geo=_word(reported.get("inference_geo"), ""),
    )
    iterations = reported.get("iterations")
    if not isinstance(iterations, list):
        return usage
    # An iteration names its model only where it may be another than the message's.
    answered = _word(message.get("model"), "")
    return replace(
        usage,
        iterations=tuple(
            (_word(leg.get("model"), answered), _tokens(leg))
            for leg in map(_mapping, iterations)
            if leg
        ),
    )


def _tokens(reported: Mapping[str, Any]) -> Usage:
    split = _mapping(reported.get("cache_creation"))
    written = _count(reported.get("cache_creation_input_tokens"))
    hour = _count(split.get("ephemeral_1h_input_tokens"))
    return Usage(
        input_tokens=_count(reported.get("input_tokens")),
        output_tokens=_count(reported.get("output_tokens")),
        # The total is always there, the split only in newer answers: what it leaves is 5-minute.
        cache_write_5m_tokens=max(_count(split.get("ephemeral_5m_input_tokens")), written - hour),
        cache_write_1h_tokens=hour,
        cache_read_tokens=_count(reported.get("cache_read_input_tokens")),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _word(value: Any, default: str) -> str:
    return value if isinstance(value, str) and value else default


def prompt_tokens(usage: Usage) -> int:
    """All tokens of the prompt: plain, read and written."""
    return (
        usage.input_tokens
        + usage.cache_read_tokens
        + usage.cache_write_5m_tokens
        + usage.cache_write_1h_tokens
    )
