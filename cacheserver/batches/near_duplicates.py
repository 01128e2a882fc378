"""What is asked within a batch, and which of it would serve an item that asks nearly the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cacheserver.batches.context import Decider
from cacheserver.cache.freshness import bar_of
from cacheserver.core.types import Candidate, Entry, Hit, Query, Usage

_LEADERS = 2_000  # texts of a scope that new ones are held against: 3 MB, 0.1 ms
_CLOSE = 0.9  # cosine; no target is reached below it, and deciding costs a round trip


@dataclass(slots=True)
class _Asked:
    """What a job asks under one scope: texts, their vectors, and the asks they lead."""

    texts: list[str] = field(default_factory=list)
    actors: list[str | None] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    vectors: list[Any] = field(default_factory=list)


class Leaders:
    """The asks of each job. Of this process only: after a restart later items find fewer."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._jobs: dict[str, dict[str, _Asked]] = {}

    async def find(self, job: str, query: Query, vector: Any, now: float) -> str | None:
        """The ask of this job whose answer will serve this item, too."""
        known = self._jobs.get(job, {}).get(query.scope)
        if known is None or query.text is None:
            return None
        cosines = np.asarray(known.vectors) @ np.asarray(vector)
        bar = bar_of(query.tenant, query.controls.namespace, query.scope)
        close = _CLOSE if bar.similarity is None else bar.similarity
        best = np.argsort(-cosines)[: bar.top_k]
        near = [
            Candidate(_stand_in(query, known, at, now), float(cosines[at]))
            for at in map(int, best)
            if cosines[at] >= close
        ]
        if not near:
            return None
        decision = await self._decider.decide(query, near, bar)
        if not isinstance(decision, Hit) or decision.candidate is None:
            return None
        return known.keys[int(decision.candidate.entry.id)]

    def add(self, job: str, query: Query, vector: Any, key: str) -> None:
        """An item of the job is asked for itself, or with others who ask the same."""
        known = self._jobs.setdefault(job, {}).setdefault(query.scope, _Asked())
        if query.text is not None and len(known.texts) < _LEADERS:
            known.texts.append(query.text)
            known.actors.append(query.actor)
            known.keys.append(key)
            known.vectors.append(np.asarray(vector))

    def forget(self, job: str) -> None:
        self._jobs.pop(job, None)


def _stand_in(query: Query, known: _Asked, place: int, now: float) -> Entry:
    """What the decider reads of an answer that is still to come."""
    return Entry(
        id=f"{place:032d}",
        tenant=query.tenant.name,
        namespace=query.controls.namespace,
        fingerprint="",
        scope=query.scope,
        text=known.texts[place],
        model=query.model,
        message=b"{}",
        usage=Usage(),
        cost=None,
        tags=(),
        created_at=now,
        expires_at=now + 1,
        actor=known.actors[place],
    )
