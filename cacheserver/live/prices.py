"""Live prices: the table of the package or the operator's file, with what admins have changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from cacheserver.core.errors import BadRequest
from cacheserver.live.documents import Document, LiveDocuments, decode
from cacheserver.observability.logs import place
from cacheserver.pricing import price_changes
from cacheserver.pricing.prices import Pricer

logger = logging.getLogger(__name__)

PRICES: Final = "prices"  # the document's name


class LivePrices:
    """Price changes in force. `swallowed` counts models whose stored change is not readable here.

    `needed` returns the models that must keep a price, by the setting that needs it.
    """

    name: Final = PRICES

    def __init__(
        self,
        pricer: Pricer,
        documents: LiveDocuments,
        clock: Callable[[], float],
        swallowed: Callable[[str], object],
        *,
        needed: Callable[[], Mapping[str, str]],
    ) -> None:
        self.own: Mapping[str, Any] = {}  # changes in force now, by model
        self._pricer = pricer
        self._documents = documents
        self._clock = clock
        self._swallowed = swallowed
        self._needed = needed
        self._raw: bytes | None = None
        self._listeners: list[Callable[[], object]] = []

    def listen(self, changed: Callable[[], object]) -> None:
        """Have `changed` called after each change. It may not fail."""
        self._listeners.append(changed)

    async def change(self, given: Mapping[str, Any]) -> tuple[Document, Document]:
        """Change the prices that `given` names; null returns to the default.

        In force everywhere when it returns. Returns the changes before and after.
        Raises `BadRequest` naming the field, and `StoreError`.
        """

        def merged(before: Document) -> Document:
            after = price_changes.merged(before, given, self._clock())
            self._check(after)
            return after

        done = await self._documents.change(PRICES, merged)
        self.take(done.raw)
        before, after = map(price_changes.readable, (done.before, done.after))
        return price_changes.latest(before), price_changes.latest(after)

    def take(self, raw: bytes | None) -> None:
        """Put the stored document into force, if it is another one."""
        if raw == self._raw:
            return
        stored = decode(raw)
        kept = price_changes.readable(stored)
        for _ in range(len(stored) - len(kept)):
            self._swallowed("live-prices")
        self._pricer.use(price_changes.read(kept))
        self._raw, self.own = raw, price_changes.latest(kept)
        for changed in self._listeners:
            try:
                changed()
            except Exception as error:  # the prices are in force all the same
                self._swallowed("live-prices")
                logger.error("a change of prices was not followed: %s", place(error))

    def _check(self, own: Document) -> None:
        """Raise `BadRequest` if a model would have only some of its prices, or too few."""
        kept = price_changes.readable(own)
        changes, now = price_changes.read(kept), self._clock()

        def ladder(model: str, speed: str) -> Any:
            return self._pricer.with_changes(changes, model, now, speed)

        price_changes.complete(price_changes.latest(kept), ladder)
        for name, model in self._needed().items():
            if self._pricer.steps(model, now) and not ladder(model, "standard"):
                raise BadRequest(model, f"has no other price, and `{name}` needs one")
