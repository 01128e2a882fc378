"""Live settings of a server: the environment's, with what admins have changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cacheserver.config import live_settings
from cacheserver.config.settings import Settings
from cacheserver.live.documents import Document, LiveDocuments, decode

SETTINGS: Final = "settings"  # the document's name

Use = Callable[[Settings], object]


class LiveSettings:
    """Settings in force. `swallowed` counts stored changes that do not hold here."""

    name: Final = SETTINGS

    def __init__(
        self, base: Settings, documents: LiveDocuments, swallowed: Callable[[str], object]
    ) -> None:
        self.base = base  # of the environment
        self.current = base
        self.own: Mapping[str, Any] = {}
        self._documents = documents
        self._swallowed = swallowed
        self._raw: bytes | None = None
        self._listeners: list[Use] = []

    def listen(self, use: Use) -> None:
        """Have `use` called with the settings now and after each change. It may not fail."""
        self._listeners.append(use)
        use(self.current)

    async def change(self, given: dict[str, Any]) -> tuple[Document, Document]:
        """Change what `given` names; null returns to the environment. Returns before and after.

        In force here at once, elsewhere within seconds. Raises `BadRequest` naming the field, and
        `StoreError`.
        """

        def merged(before: Document) -> Document:
            own = live_settings.readable(self.base, before)
            live_settings.changed(self.base, _without_nulls(own | given), asked=given)
            return _without_nulls(before | given)

        live_settings.check_names(given)
        changed = await self._documents.change(SETTINGS, merged)
        self.take((await self._documents.read()).get(SETTINGS))
        return changed

    def take(self, raw: bytes | None) -> None:
        """Put the stored document into force, if it is another one."""
        if raw == self._raw:
            return
        stored = decode(raw)
        own = live_settings.readable(self.base, stored)
        if len(own) < len(stored):
            self._swallowed("live-settings")
        self._raw, self.own = raw, own
        self.current = live_settings.changed(self.base, own)
        for use in self._listeners:
            use(self.current)

    def described(self) -> list[dict[str, Any]]:
        """Return every setting as JSON."""
        return live_settings.described(self.base, self.current, self.own)


def _without_nulls(values: Mapping[str, Any]) -> Document:
    return {name: value for name, value in values.items() if value is not None}
