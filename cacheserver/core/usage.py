"""Tokens by kind, and how to read them from Claude's `usage`. Imports nothing heavy.

What becomes part of ledger rows and keys is read with `count` and `word`: rows of all requests are
written together, so none may hold what cannot be written or added up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

# Of one request: a thousand times what any model reads or writes. Their price is below 2^53
# nanodollars, which the store's scripts add up exactly.
MOST_TOKENS: Final = 1_000_000_000
# Of one answer: Claude's largest context window, in which an answer lies. A caller may name more.
MOST_OUTPUT_TOKENS: Final = 1_000_000
_WORD_CHARS: Final = 256


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
        web_searches=count(_mapping(reported.get("server_tool_use")).get("web_search_requests")),
        service_tier=word(reported.get("service_tier"), "standard"),
        speed=word(reported.get("speed"), "standard"),
        inference_geo=word(reported.get("inference_geo"), ""),
    )
    iterations = reported.get("iterations")
    if not isinstance(iterations, list):
        return usage
    # An iteration names its model only where it may be another than the message's.
    model = word(message.get("model"), "")
    return replace(
        usage,
        iterations=tuple(
            (word(leg.get("model"), model), _tokens(leg))
            for leg in map(_mapping, iterations)
            if leg
        ),
    )


def _tokens(reported: Mapping[str, Any], **others: Any) -> Usage:
    split = _mapping(reported.get("cache_creation"))
    written = count(reported.get("cache_creation_input_tokens"))
    hour = count(split.get("ephemeral_1h_input_tokens"))
    return Usage(
        input_tokens=count(reported.get("input_tokens")),
        output_tokens=count(reported.get("output_tokens")),
        # The total is always there, the split only in newer answers: what it leaves is 5-minute.
        cache_write_5m_tokens=max(count(split.get("ephemeral_5m_input_tokens")), written - hour),
        cache_write_1h_tokens=hour,
        cache_read_tokens=count(reported.get("cache_read_input_tokens")),
        **others,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def count(value: Any) -> int:
    """Return a number of tokens as Claude reported it; 0 for what can be none."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 < value <= MOST_TOKENS else 0


def word(value: Any, default: str) -> str:
    """Return a name of Claude's, such as a model or an id; `default` for what can be none."""
    named = isinstance(value, str) and 0 < len(value) <= _WORD_CHARS and value.isprintable()
    return value if named else default


def prompt_tokens(usage: Usage) -> int:
    """All tokens of the prompt: plain, read and written."""
    return (
        usage.input_tokens
        + usage.cache_read_tokens
        + usage.cache_write_5m_tokens
        + usage.cache_write_1h_tokens
    )
