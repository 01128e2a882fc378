"""Trials of cheaper models: the same request asked twice, the answers compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cacheserver.core.rules.bounds import STRICT, Bound


@dataclass(frozen=True, slots=True)
class TrialRules:
    """Rules of downshift trials."""

    __pydantic_config__ = STRICT

    # Of routed requests, asked of the neighbouring tier too. Each is a second call that nobody
    # reads, so there is none until an operator wants to know.
    share: Annotated[float, Bound(least=0, most=1)] = 0.0
    # For trials and gold sets together: some 900 answers of Sonnet 5.5 at 100 tokens each.
    usd_per_day: Annotated[float, Bound(least=0, most=10_000)] = 1.0
    # What the comparer leaves undecided is put to Claude, within the judge's own share and cap.
    judge: bool = False
    # Comparisons that count. Of 400 a drop by a tenth shows after some 50, and what was true last
    # quarter is forgotten.
    window: Annotated[int, Bound(least=50, most=2_000)] = 400
    gold_every_s: Annotated[int, Bound(least=3_600, most=2_592_000)] = 86_400  # 0.1 to 30 days
