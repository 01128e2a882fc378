"""Near duplicates within a job: items that another item's answer will serve."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cacheserver.batches.context import Decider
from cacheserver.cache.freshness import bar_of
from cacheserver.cache.miss.stand_in import close_enough, stand_in
from cacheserver.core.types import Candidate, Hit, Query
from cacheserver.matching.cosine_scale import CosineScale

_LEADERS = 2_000  # questions of a scope that new ones are compared with: 3 MB, 0.1 ms


@dataclass(slots=True)
class _Questions:
    """The questions of a job under one scope, with their vectors and the keys of their asks."""

    texts: list[str] = field(default_factory=list)
    actors: list[str | None] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    vectors: list[Any] = field(default_factory=list)


class Leaders:
    """The asks of each job, in this process only: after a restart fewer duplicates are found."""

    def __init__(self, decider: Decider, scale: CosineScale) -> None:
        self._decider = decider
        self._scale = scale
        self._jobs: dict[str, dict[str, _Questions]] = {}

    async def find(self, job: str, query: Query, vector: Any, now: float) -> str | None:
        """The key of the ask of this job whose answer will also serve this item."""
        asks = self._jobs.get(job, {}).get(query.scope)
        if asks is None or query.text is None:
            return None
        cosines = np.asarray(asks.vectors) @ np.asarray(vector)
        bar = bar_of(query.tenant, query.controls.namespace, query.label_scope)
        close = close_enough(bar)
        best = [int(at) for at in np.argsort(-cosines)[: bar.top_k]]
        near = [
            Candidate(stand_in(query, at, asks.texts[at], asks.actors[at], now), similarity)
            for at in best
            if (similarity := self._scale(float(cosines[at]))) >= close
        ]
        if not near:
            return None
        decision = await self._decider.decide(query, near, bar)
        if not isinstance(decision, Hit) or decision.candidate is None:
            return None
        return asks.keys[int(decision.candidate.entry.id)]

    def add(self, job: str, query: Query, vector: Any, key: str) -> None:
        """Add an item that has an ask, alone or with others that ask the same."""
        asks = self._jobs.setdefault(job, {}).setdefault(query.scope, _Questions())
        if query.text is not None and len(asks.texts) < _LEADERS:
            asks.texts.append(query.text)
            asks.actors.append(query.actor)
            asks.keys.append(key)
            asks.vectors.append(np.asarray(vector))

    def forget(self, job: str) -> None:
        self._jobs.pop(job, None)
