"""State of a store's embedder, and of a change of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

import numpy as np

from cacheserver.core.errors import SettingsError
from cacheserver.core.types import FIRST_EMBEDDER
from cacheserver.index.models import Vectors
from cacheserver.index.probe import difference
from cacheserver.storage.connection import Connection, command

ANOTHER_MODEL = (
    "`CACHESERVER_EMBEDDER`: the endpoint {}. If another model is behind it now, give it another "
    "name in `CACHESERVER_EMBEDDER_MODEL`"
)


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
        self._probes = f"{prefix}embedder:probes"

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

    async def check_model(self, embedder: str, probe: Vectors) -> None:
        """Keep the probe of a model, or compare it with the one kept under this id.

        It lies with the vectors that it stands for, so it is in every backup of them. Raises
        `SettingsError` if another model made those.
        """
        value = json.dumps([round(float(x), 6) for x in probe])
        if await command(self._redis, "HSETNX", self._probes, embedder, value):
            return
        stored = await command(self._redis, "HGET", self._probes, embedder)
        if changed := difference(probe, np.array(json.loads(stored), np.float32)):
            raise SettingsError(ANOTHER_MODEL.format(changed))


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
