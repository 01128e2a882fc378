"""Questions under way on other servers, as their leaders tell of them.

The stream of changes names a question by its scope and its key; its words and its vector are stored
beside the lease of the call, sealed, for seconds. They are read only when a question of that scope
is asked here.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from cacheserver.core import json_text
from cacheserver.core.types import Query
from cacheserver.peers.flights import Flights, Note
from cacheserver.storage.json_values import tenant_key
from cacheserver.storage.sealer import Sealer, as_object

_KIND: Final = "questions"
_MOST: Final = 500  # heard of and not ended; the oldest are forgotten: it costs a call


@dataclass(eq=False, slots=True)
class Question:
    """A question whose answer is under way."""

    scope: str
    fingerprint: str
    text: str
    actor: str | None
    vector: Any  # of its text, of length 1
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    calling: bool = False  # it ends with its call


class QuestionsElsewhere:
    """The questions of other servers' calls, by scope, until they land or are forgotten.

    Those of servers with another embedder are left out: their vectors cannot be compared.
    """

    def __init__(self, flights: Flights, sealer: Sealer, *, embedder_id: str) -> None:
        self._flights = flights
        self._sealer = sealer
        self._embedder_id = embedder_id
        self._heard: dict[str, str] = {}  # scope by the name of the note, the oldest first
        self._scopes: dict[str, dict[str, Question | None]] = {}  # None: not read yet
        flights.hear(self._asking, self._end, self.forget)

    async def note(self, query: Query, key: str, vector: Any) -> Note | None:
        """Return what other servers are told of a question; None if it is not to be compared.

        Raises `StoreError`.
        """
        if vector is None or query.text is None:
            return None
        tenant = query.tenant.name
        await self._sealer.ready(tenant)
        packed = np.asarray(vector).astype(np.float16).tobytes()
        plain = json_text.dumps(
            {
                "text": query.text,
                "actor": query.actor,
                "fingerprint": query.fingerprint,
                "embedder": self._embedder_id,
                "vector": base64.b64encode(packed).decode(),
            }
        )
        name = f"{tenant_key(tenant)}:{key}"
        return Note(query.scope, name, self._sealer.seal(_KIND, tenant, name, plain))

    def any(self, scope: str) -> bool:
        """Return whether a question of the scope is under way elsewhere."""
        return scope in self._scopes

    async def of(self, query: Query) -> list[Question]:
        """Return the questions of a query's scope. Raises `StoreError`."""
        asked = self._scopes.get(query.scope, {})
        if unread := [name for name, question in asked.items() if question is None]:
            values = await self._flights.notes(unread)
            await self._sealer.know(values)
            for name, value in zip(unread, values, strict=True):
                found = self._read(query, name, value)
                if found is None:
                    self._end(name)
                elif asked.get(name, found) is None:  # else another request has read it meanwhile:
                    asked[name] = found  # only the one that is kept is told of its end
        return [one for one in asked.values() if one is not None]

    def forget(self) -> None:
        """Forget all questions, and have those who wait look for themselves."""
        for name in list(self._heard):
            self._end(name)

    def drop(self, question: Question) -> None:
        """Forget a question that was waited for in vain: its server may be gone."""
        for name, one in self._scopes.get(question.scope, {}).items():
            if one is question:
                self._end(name)
                return

    def _asking(self, scope: str, name: str) -> None:
        if self._heard.get(name, scope) != scope:
            self._end(name)
        if name not in self._heard and len(self._heard) >= _MOST:
            self._end(next(iter(self._heard)))
        self._heard[name] = scope
        # Another server that takes the call over tells of it again: who waits goes on waiting.
        self._scopes.setdefault(scope, {}).setdefault(name, None)

    def _end(self, name: str) -> None:
        scope = self._heard.pop(name, None)
        if scope is None:
            return
        asked = self._scopes[scope]
        if (question := asked.pop(name)) is not None:
            question.ended.set()
        if not asked:
            del self._scopes[scope]

    def _read(self, query: Query, name: str, value: bytes | None) -> Question | None:
        def question(plain: bytes) -> Question | None:
            found = as_object(plain, "text", "actor", "fingerprint", "embedder", "vector")
            if found["embedder"] != self._embedder_id:
                return None
            packed = base64.b64decode(found["vector"])
            vector = np.frombuffer(packed, np.float16).astype(np.float32)
            return Question(
                query.scope, found["fingerprint"], found["text"], found["actor"], vector
            )

        tenant = query.tenant.name
        if not name.startswith(f"{tenant_key(tenant)}:"):
            return None
        return self._sealer.read(_KIND, tenant, name, value, question)
