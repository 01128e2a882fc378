"""The price limit of a stream: its cost is estimated from its characters while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cacheserver.claude import sse
from cacheserver.core.types import Nanodollars

# 1M tokens are some 2.5M characters with the tokenizer of 4.7 and later (Anthropic's model pages).
# Older ones make fewer tokens of a text: for them the estimate is high, and the limit early.
_CHARS_PER_TOKEN = 2.5


class Meter:
    """Counts the output of a stream. `price` is the cost of a number of output tokens."""

    def __init__(self, limit: Nanodollars, price: Callable[[int], Nanodollars | None]) -> None:
        self._limit = limit
        self._price = price
        self._chars = 0
        self._open: int | None = None  # the block that has begun and not ended

    @property
    def tokens(self) -> int:
        """The estimated number of output tokens so far."""
        return round(self._chars / _CHARS_PER_TOKEN)

    def over(self, event: Mapping[str, Any]) -> bool:
        """Count one event; return whether the stream has passed its limit."""
        match event.get("type"):
            case "content_block_start":
                self._open = event.get("index")
            case "content_block_stop":
                self._open = None
            case "content_block_delta":
                delta = event.get("delta") or {}
                texts = (delta.get(name) for name in ("text", "thinking", "partial_json"))
                self._chars += sum(len(piece) for piece in texts if isinstance(piece, str))
                cost = self._price(self.tokens)
                return cost is not None and cost > self._limit
        return False

    def ending(self, opening: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The events that end it as `max_tokens` would. `opening` is the message it began with."""
        if self._open is not None:
            yield {"type": "content_block_stop", "index": self._open}
        usage = {**(opening.get("usage") or {}), "output_tokens": self.tokens}
        delta = {"stop_reason": "max_tokens", "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": usage}
        yield {"type": "message_stop"}

    def events(self, opening: Mapping[str, Any]) -> Iterator[bytes]:
        """Encode `ending` as events for the reader."""
        return map(sse.encode, self.ending(opening))
