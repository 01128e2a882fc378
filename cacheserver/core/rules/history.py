"""Rules for trimming long conversations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from cacheserver.core.rules.bounds import STRICT, Bound


@dataclass(frozen=True, slots=True)
class HistoryRules:
    """Rules of shortening conversations, those of `/v1/query` that name a `conversation`."""

    __pydantic_config__ = STRICT

    enabled: bool = True
    # Also bodies of `/v1/messages`. Off: editing a history empties Claude's prompt cache for it,
    # and its thinking blocks, bound to what stood before them, must be left out.
    messages: bool = False
    keep: Annotated[int, Bound(1, 1_000)] = 5  # exchanges before the question
    # Older exchanges leave so many at a time: between two cuts the prefix stands still, and
    # Claude's prompt cache reads it for a tenth or a twentieth. 1: never more than `keep`.
    step: Annotated[int, Bound(1, 1_000)] = 5
    how: Literal["window", "summary"] = "window"
    summary_tokens: Annotated[int, Bound(50, 8_000)] = 400  # a page; what it replaces is several
    remember_s: Annotated[int, Bound(60, 2_592_000)] = 86_400  # after the last turn
