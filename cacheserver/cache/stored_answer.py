"""A stored answer on its way out: the one place that serves one, whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cacheserver.cache import cacheability
from cacheserver.cache.answer import Settlement
from cacheserver.cache.ports import Entries, Learner, Pricer
from cacheserver.core import json_text
from cacheserver.core.types import Entry, Hit, Query


@dataclass(frozen=True, slots=True)
class Served:
    """What a hit gives: the message without an id, and what it means in money."""

    message: bytes
    settlement: Settlement


class HitServer:
    """Serves stored answers, at a connection and in a batch alike."""

    def __init__(
        self,
        *,
        entries: Entries,
        pricer: Pricer,
        learner: Learner,
        chance: Callable[[], float],
    ) -> None:
        self._entries = entries
        self._pricer = pricer
        self._learner = learner
        self._chance = chance

    def serve(self, query: Query, hit: Hit, *, entry: Entry, now: float) -> Served:
        """Return what leaves, note the hit for eviction, and have a share of hits audited.

        Thinking stays behind where the prefix was another's.
        """
        message = entry.message
        if hit.kind == "semantic":
            message = bare(message)
        self._entries.touch(entry)
        self._audit(query, hit)
        settlement = Settlement(
            model=entry.model,
            usage=entry.usage,
            cost=0,
            saved=self._pricer.cost(entry.model, entry.usage, now),
        )
        return Served(message, settlement)

    def _audit(self, query: Query, hit: Hit) -> None:
        """Have a share of hits asked again; never on a caller's own key behind their back."""
        if hit.candidate is None or query.credential is not None:
            return
        if hit.audit_share > 0 and self._chance() < hit.audit_share:
            self._learner.audit(query, hit.candidate, hit.audit_share)


def bare(message: bytes) -> bytes:
    """A message as another question may have it: without thinking."""
    if b'thinking"' not in message:
        return message
    return json_text.dumps(cacheability.without_thinking(json_text.loads(message)))
