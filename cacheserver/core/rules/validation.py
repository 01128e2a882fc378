"""Checks that a cheaper model's answer must pass before a caller gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cacheserver.core.rules.bounds import STRICT, Bound

# A search for a few words in an answer costs microseconds; a pattern could cost seconds, so there
# are none.
Words = Annotated[tuple[Annotated[str, Bound(least=1, most=1_000)], ...], Bound(most=100)]
Length = Annotated[int, Bound(least=0, most=10_000_000)]


@dataclass(frozen=True, slots=True)
class Check:
    """Simple conditions, all of which must hold. What is not set is not looked at."""

    __pydantic_config__ = STRICT

    json: bool = False  # the whole text is JSON
    schema: Annotated[dict[str, Any], Bound(most=100)] | None = None  # and fits this
    one_of: Words = ()  # the whole text is one of these, whatever its case
    contains: Words = ()  # each is somewhere in it
    lacks: Words = ()  # none is
    min_chars: Length = 0
    max_chars: Length | None = None


@dataclass(frozen=True, slots=True)
class ValidationRules:
    """Switches on checks of cheaper tiers' answers; a failed one is asked again, one tier up.

    A request with a check of its own is looked at in any case.
    """

    __pydantic_config__ = STRICT

    # Off: a failure costs a second call and its time, which an operator should have decided on.
    enabled: bool = False
    refusals: bool = True  # a better model refuses less of what is harmless
    truncation: bool = True  # cheap models are wordier, and run into the same cap
    # Asked again up to this tier. Not the highest: it is for who asks for it.
    up_to: Literal["middle", "high"] = "middle"
    # A stream that is to be looked at first is held back to its end: the caller waits as long as
    # without one, so only where an operator says so.
    streams: bool = False
