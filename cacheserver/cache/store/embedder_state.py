"""State of a store's embedder, and of a change of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from cacheserver.core.types import FIRST_EMBEDDER
from cacheserver.storage.connection import Connection, command


@dataclass(frozen=True, slots=True)
class EmbedderState:
    """The store's embedder. Times are Unix seconds."""

    id: str
    previous: str | None = None  # the one before, while its vectors are stored
    since: float = 0.0
    finished: float | None = None  # when all questions had its vector; None: not yet


class EmbedderStates:
    """The one state of a store. Each method raises `StoreError`."""

    def __init__(self, redis: Connection, *, prefix: str) -> None:
        self._redis = redis
        self._key = f"{prefix}embedder"

    async def read(self) -> EmbedderState | None:
        """Return the state; None if none was written, or by another version."""
        value = await command(self._redis, "GET", self._key)
        if value is None:
            return None
        try:
            found = json.loads(value)
            return EmbedderState(**{one.name: found[one.name] for one in fields(EmbedderState)})
        except (ValueError, KeyError, TypeError):
            return None

    async def write(self, state: EmbedderState) -> None:
        await command(self._redis, "SET", self._key, json.dumps(asdict(state)))


def state_for(
    embedder: str, stored: EmbedderState | None, questions: int, now: float
) -> EmbedderState:
    """Return the state with `embedder`, where `stored` and `questions` are what the store has.

    A store without a state is of a version that knew one embedder, or empty.
    """
    if stored is None and questions:
        stored = EmbedderState(FIRST_EMBEDDER, finished=now)
    if stored is None:
        return EmbedderState(embedder, since=now, finished=now)
    if stored.id == embedder:
        return stored
    return EmbedderState(embedder, previous=stored.id, since=now, finished=None)
