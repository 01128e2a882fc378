"""Live prices: the table of the package or the operator's file, with what admins have changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cacheserver.core.errors import BadRequest
from cacheserver.live.documents import Document, LiveDocuments, decode
from cacheserver.pricing import price_changes
from cacheserver.pricing.price_changes import PriceChanges
from cacheserver.pricing.prices import Pricer

PRICES: Final = "prices"  # the document's name


class LivePrices:
    """Price changes in force. `swallowed` counts stored ones that cannot be read here."""

    name: Final = PRICES

    def __init__(
        self,
        pricer: Pricer,
        documents: LiveDocuments,
        clock: Callable[[], float],
        swallowed: Callable[[str], object],
    ) -> None:
        self.own: Mapping[str, Any] = {}
        self._pricer = pricer
        self._documents = documents
        self._clock = clock
        self._swallowed = swallowed
        self._raw: bytes | None = None

    async def change(self, given: Mapping[str, Any]) -> tuple[Document, Document]:
        """Change the prices that `given` names; null returns to the default.

        In force here at once, elsewhere within seconds. Returns the changes before and after.
        Raises `BadRequest` naming the field, and `StoreError`.
        """

        def merged(before: Document) -> Document:
            after = price_changes.merged(before, given, self._clock())
            self._check(after)
            return after

        changed = await self._documents.change(PRICES, merged)
        self.take((await self._documents.read()).get(PRICES))
        return changed

    def take(self, raw: bytes | None) -> None:
        """Put the stored document into force, if it is another one."""
        if raw == self._raw:
            return
        self._raw, self.own = raw, decode(raw)
        try:
            changes = price_changes.read(self.own)
        except (BadRequest, KeyError, TypeError, ValueError, AttributeError):
            self._swallowed("live-prices")
            changes, self.own = PriceChanges(), {}
        self._pricer.use(changes)

    def _check(self, own: Document) -> None:
        """Raise `BadRequest` if a model would have only some of its prices."""
        changes, now = price_changes.read(own), self._clock()

        def ladder(model: str, speed: str) -> Any:
            return self._pricer.with_changes(changes, model, now, speed)

        price_changes.complete(own, ladder)
