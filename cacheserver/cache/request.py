"""One request in progress: what was asked, the decision so far, and whether it is settled."""

from __future__ import annotations

import secrets
from asyncio import Event
from dataclasses import dataclass, field
from typing import Self

from cacheserver.cache.ask_key import ask_key
from cacheserver.core import request_context
from cacheserver.core.ledger_row import Row
from cacheserver.core.types import Bypass, Miss, Query
from cacheserver.matching.verification_outcome import Verified


@dataclass(slots=True)
class Request:
    """A request on its way through the cache. It is settled exactly once.

    `decision` is why no stored answer was served; before the look-up, that its caller left.
    """

    query: Query
    started_at: float  # Unix seconds
    id: str = field(default_factory=lambda: f"dec_{secrets.token_hex(12)}")
    decision: Miss | Bypass = field(default_factory=lambda: Miss("hung-up"))
    settled: bool = False
    admitted: bool = False  # by limits and budgets; not if it joined what another request does
    verified: Verified | None = None  # whether a model was asked about stored answers
    row: Row | None = None  # of the ledger; None: it is not settled yet
    recorded: Event | None = None  # set once the row is in the ledger, or could not be written
    ahead: dict[str, str] | None = None  # its headers, if it was settled as its answer was stored
    _keyed: tuple[Query, str] | None = None  # the last query whose key was asked for

    @property
    def call_key(self) -> str:
        """Return the key of the call that answers the request, by its decision so far."""
        if not isinstance(self.decision, Miss):
            return self.id
        if self._keyed is None or self._keyed[0] is not self.query:
            self._keyed = self.query, ask_key(self.query)
        return self._keyed[1]

    @classmethod
    def begin(cls, query: Query, now: float) -> Self:
        """Begin a request, and name it in the logs and traces of the HTTP request under way."""
        request = cls(query, now)
        if (context := request_context.current()) is not None:
            context.decision_id = request.id
        return request
