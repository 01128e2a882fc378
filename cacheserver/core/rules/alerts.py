"""Alerts that an operator wants, and where they go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cacheserver.core.rules.bounds import STRICT, Bound

Share = Annotated[float, Bound(least=0, most=1)]
Times = Annotated[float, Bound(least=1, most=1_000)]
Url = Annotated[str, Bound(least=8, most=2_000)]
Address = Annotated[str, Bound(least=3, most=254, pattern=r"[^\s@<>,;]+@[^\s@<>,;]+")]


@dataclass(frozen=True, slots=True)
class AlertRules:
    """Thresholds, and where alerts go. The server's log has them all, whatever stands here."""

    __pydantic_config__ = STRICT

    enabled: bool = True  # the digest has a switch of its own
    webhook: Url | None = None  # signed as those of jobs are; where it may go: `batching`
    slack: Url | None = None  # an incoming webhook of Slack's, or of what speaks like it
    email: Annotated[tuple[Address, ...], Bound(most=20)] = ()
    digest: bool = False  # a week's usage, on Mondays, to the same addresses

    # An hour's spend at so many times its usual is told; under so many dollars it is not worth it.
    spend_times: Times = 4.0
    spend_least_usd: Annotated[float, Bound(least=0, most=1_000_000)] = 1.0
    # Output is the dear part of a call; twice the usual length is a prompt that changed.
    output_times: Times = 2.0
    # Of an hour's prompt tokens, written to Claude's cache: a write costs a quarter more than a
    # plain token, so above a half that nobody reads it costs more than it saves.
    write_share: Share = 0.5
    # The hit rate falls to this share of its usual: something in the prompts changed.
    hit_rate_left: Share = 0.5
    # One request in ten: Claude's own failures are far rarer, and most are retried.
    error_share: Share = 0.1
    # Of an hour's questions without an exact answer, unlike all that was learned of: above this
    # share and so many times the usual one a new kind of question comes in. Of `least_calls` (20)
    # and three times the usual, chance alone tells once in 44,000 hours, by Poisson's law.
    unsupported_share: Share = 0.05
    unsupported_times: Times = 3.0
    # Fewer than these say nothing about a share.
    least_calls: Annotated[int, Bound(least=1, most=1_000_000)] = 20
