"""Tokens by kind, and how to read them from Claude's `usage`. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens by kind, as Claude reported them. `input_tokens` is the uncached remainder only."""

    input_tokens: int = 0
    output_tokens: int = 0  # thinking included
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_read_tokens: int = 0
    web_searches: int = 0
    service_tier: str = "standard"
    speed: str = "standard"
    inference_geo: str = ""
    iterations: tuple[tuple[str, Usage], ...] = ()  # (model, usage) of each; then they are the bill

    @property
    def billed(self) -> Usage:
        """Return the tokens on the bill: the sum of the iterations, if there are any.

        The counts beside the iterations leave some of them out.
        """
        if not self.iterations:
            return self
        legs = [leg for _, leg in self.iterations]
        return replace(
            self,
            input_tokens=sum(leg.input_tokens for leg in legs),
            output_tokens=sum(leg.output_tokens for leg in legs),
            cache_write_5m_tokens=sum(leg.cache_write_5m_tokens for leg in legs),
            cache_write_1h_tokens=sum(leg.cache_write_1h_tokens for leg in legs),
            cache_read_tokens=sum(leg.cache_read_tokens for leg in legs),
            iterations=(),
        )


def usage_of(message: Mapping[str, Any]) -> Usage:
    """The usage Claude put in a message. What is missing, null or no count is 0."""
    reported = _mapping(message.get("usage"))
    usage = _tokens(
        reported,
        web_searches=_count(_mapping(reported.get("server_tool_use")).get("web_search_requests")),
        service_tier=_word(reported.get("service_tier"), "standard"),
        speed=_word(reported.get("speed"), "standard"),
        inference_geo=_word(reported.get("inference_geo"), ""),
    )
    iterations = reported.get("iterations")
    if not isinstance(iterations, list):
        return usage
    # An iteration names its model only where it may be another than the message's.
    model = _word(message.get("model"), "")
    return replace(
        usage,
        iterations=tuple(
            (_word(leg.get("model"), model), _tokens(leg))
            for leg in map(_mapping, iterations)
            if leg
        ),
    )


def _tokens(reported: Mapping[str, Any], **others: Any) -> Usage:
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
        **others,
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
