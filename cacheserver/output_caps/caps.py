"""Output caps from learned lengths: histograms read periodically, written in the background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cacheserver.cache import cacheability
from cacheserver.cache.ports import Metrics
from cacheserver.claude import capabilities
from cacheserver.core.background import BackgroundWork
from cacheserver.core.types import Cap, PlannedCall, Query, Route, Usage
from cacheserver.output_caps import rules as cap_rules
from cacheserver.output_caps.rules import LengthHistogram
from cacheserver.output_caps.store import LengthStore

# Lengths change slowly; reading them for every miss would cost a round trip to Redis.
_FRESH_S = 15.0
_MOST_CACHED = 10_000  # of (tenant, task, model)

_NO_TASK = "other"
_NO_THINKING = ":no-thinking"  # behind a task's name, which has no colon


class OutputCaps:
    """Lever `output-cap`: caps `max_tokens` by the lengths of earlier answers."""

    def __init__(self, store: LengthStore, metrics: Metrics) -> None:
        self._store = store
        self._background = BackgroundWork("lengths", metrics)
        self._cached: dict[tuple[str, str, str], tuple[float, LengthHistogram]] = {}

    async def cap(self, query: Query, route: Route, now: float) -> Cap | None:
        """Return the `max_tokens` to send, or None. Raises `StoreError`."""
        rules, task = query.tenant.lengths, route.task or query.controls.task
        seen = LengthHistogram()
        thinking_off = cap_rules.switches_thinking_off(
            query.body,
            open_ended=query.open_ended,
            task=task,
            thinking=capabilities.of(route.model, {}).thinking,
            rules=rules,
        )
        if query.open_ended and rules.learn:
            seen = await self._seen(self._name(query, route, thinking_off), now)
        return cap_rules.cap(
            query.body,
            open_ended=query.open_ended,
            task=task,
            model=route.model,
            rules=rules,
            seen=seen,
            thinking_off=thinking_off,
        )

    def learn(
        self,
        query: Query,
        planned: PlannedCall,
        message: Mapping[str, Any],
        usage: Usage,
        now: float,
    ) -> None:
        """Record the length of an answer. If our cap cut it, the cap is raised."""
        cap = planned.cap
        if cap is None or not cap.ours or not query.tenant.lengths.learn:
            return
        stop = message.get("stop_reason")
        if stop not in ("end_turn", "stop_sequence", "tool_use", "max_tokens"):
            return
        name = self._name(query, planned.route, cap.thinking_off)
        cut = cap_rules.raised(cap) if stop == "max_tokens" and cap.reason != "tenant" else 0
        if cut:  # the next request must not get the old cap
            _, seen = self._cached.get(name, (now, LengthHistogram()))
            self._cached[name] = now, replace(seen, raised=max(seen.raised, cut))
        elif cacheability.made_up_length(message):
            return  # a length without meaning; after a cut the cap must grow all the same
        tokens = max(usage.output_tokens, cut)
        self._background.gather(self._store.add, (name, tokens, cut))

    async def drain(self) -> None:
        """Return once all recorded lengths are written."""
        await self._background.drain()

    async def close(self) -> None:
        """Write the recorded lengths. Later ones are lost."""
        await self._background.close(patience_s=2.0)

    async def _seen(self, name: tuple[str, str, str], now: float) -> LengthHistogram:
        cached = self._cached.get(name)
        if cached is not None and 0 <= now - cached[0] < _FRESH_S:
            return cached[1]
        seen = await self._store.seen(*name)
        self._cached.pop(name, None)
        if len(self._cached) >= _MOST_CACHED:
            del self._cached[next(iter(self._cached))]
        self._cached[name] = now, seen
        return seen

    def _name(self, query: Query, route: Route, thinking_off: bool) -> tuple[str, str, str]:
        """Return whose lengths they are: answers with and without thinking are counted apart."""
        task = route.task or query.controls.task or _NO_TASK
        return query.tenant.name, f"{task}{_NO_THINKING}" if thinking_off else task, route.model
