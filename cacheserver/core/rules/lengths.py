"""Rules for capping the length of answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from cacheserver.core.rules.bounds import NAME, STRICT, Bound

Tokens = Annotated[int, Bound(1, 1_000_000)]


@dataclass(frozen=True, slots=True)
class LengthRules:
    """Rules of output caps. A cap costs nothing where it is not reached."""

    __pydantic_config__ = STRICT

    enabled: bool = True
    # Where the caller leaves `max_tokens` to us, before anything is learned.
    default: Tokens = 1_024
    by_task: dict[str, Tokens] = field(default_factory=dict)  # over what `output_caps.rules` has
    # Thinking counts as output and is on by default in 5.x; a cap on it would cut answers short.
    thinking_room: Annotated[int, Bound(0, 1_000_000)] = 8_192
    # Tasks whose answers need no thinking: it is switched off where the model lets it be, so that
    # a cap of 10 tokens is one. Only where caller leaves length and thinking to us.
    thinking_off: Annotated[tuple[Annotated[str, NAME], ...], Bound(most=100)] = ()
    learn: bool = True  # from what answers to such tasks really use
    ceiling: Tokens | None = None  # the most any answer of this tenant's may take
    # False: a caller who asks for more than the ceiling gets it; only what is left to us is held.
    cut_callers: bool = False
    # A stream whose output passes this price is ended; nanodollars would be hard to write by hand.
    stream_usd: Annotated[float, Bound(above=0, most=1_000)] | None = None
