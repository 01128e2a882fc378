"""Rules for Claude's own prompt cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from cacheserver.core.rules.bounds import STRICT, Bound

# What changes from request to request in a prompt that is otherwise the same.
FragmentKind: TypeAlias = Literal["timestamp", "date", "uuid", "number", "name"]


@dataclass(frozen=True, slots=True)
class Warm:
    """A prefix that is written ahead of its requests, and kept."""

    __pydantic_config__ = STRICT

    name: Annotated[str, Bound(1, 64, pattern="[A-Za-z0-9._-]+")]
    model: Annotated[str, Bound(1, 100)]
    system: Annotated[str, Bound(1, 400_000)]  # some 160,000 tokens
    tools: Annotated[tuple[dict[str, Any], ...], Bound(most=128)] = field(default=())
    ttl: Literal["5m", "1h"] = "5m"
    # Between two calls; None: just under the lifetime, so that each one finds and renews it.
    every_s: Annotated[int, Bound(60, 86_400)] | None = None
    until: Annotated[float, Bound(0)] | None = None  # Unix seconds; None: for good
    from_hour: Annotated[int, Bound(0, 23)] = 0  # UTC
    to_hour: Annotated[int, Bound(1, 24)] = 24  # UTC, exclusive


@dataclass(frozen=True, slots=True)
class CachingRules:
    """Rules of prompt-cache planning. What changes the words Claude reads is off."""

    __pydantic_config__ = STRICT

    enabled: bool = True  # marks change no answer, and a loss is bounded (policy.promptcache)
    one_hour: bool = True  # False: only 5-minute writes
    # How long a miss waits for one that writes the same prefix. Claude's first token comes in one
    # to two seconds; what waits longer would save a write's premium and lose its user.
    wait_ms: Annotated[int, Bound(0, 30_000)] = 2_000
    move_dynamic: bool = False  # reorders the system prompt: Claude reads other words
    # Puts a line of the tenant's own in front of planned prefixes: no other tenant of the same
    # account can find them at Claude's. Off: it changes the words Claude reads, and a prefix that
    # tenants have in common is written once for each.
    salt: bool = False
    ignore_in_scope: Annotated[tuple[FragmentKind, ...], Bound(most=5)] = ()
    # Of an hour's prompt tokens, read from Claude's cache. Under it, something breaks prefixes.
    read_ratio_alert: Annotated[float, Bound(0, 1)] = 0.3
    # Each is a call every few minutes; more are better served by real traffic.
    prewarm: Annotated[tuple[Warm, ...], Bound(most=20)] = ()
