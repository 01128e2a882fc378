"""Rate limits of a tenant and of its keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cacheserver.core.rules.bounds import STRICT, Bound

# Above what one server answers in a minute (some 60,000); no limit is None.
PerMinute = Annotated[int, Bound(least=1, most=10_000_000)]
Tokens = Annotated[int, Bound(least=1, most=10**12)]
AtOnce = Annotated[int, Bound(least=1, most=1_000_000)]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one party. None are set until an operator sets them."""

    __pydantic_config__ = STRICT

    requests_per_minute: PerMinute | None = None  # hits included
    concurrent_misses: AtOnce | None = None  # calls to Claude under way
    tokens_per_minute: Tokens | None = (
        None  # that Claude is asked for: prompt, cached or not, and answer
    )
