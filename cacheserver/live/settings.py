"""Live settings of a server: the environment's, with what admins have changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from cacheserver.config import live_settings
from cacheserver.config.settings import Settings
from cacheserver.core.errors import BadRequest
from cacheserver.live.documents import Document, LiveDocuments, decode
from cacheserver.observability.logs import place

SETTINGS: Final = "settings"  # the document's name
_IGNORED: Final = "changes are ignored, for `CACHESERVER_LIVE_SETTINGS` is `ignore`"

logger = logging.getLogger(__name__)

Use = Callable[[Settings], object]
Check = Callable[[Settings, Collection[str]], object]  # of settings, and the names that are changed


class LiveSettings:
    """Settings in force. `swallowed` counts stored changes that do not hold here."""

    name: Final = SETTINGS

    def __init__(
        self, base: Settings, documents: LiveDocuments, swallowed: Callable[[str], object]
    ) -> None:
        self.base = base  # of the environment
        self.current = base
        self.own: Mapping[str, Any] = {}
        self.not_in_force: Mapping[str, Any] = {}  # stored, and not of this server
        self._documents = documents
        self._swallowed = swallowed
        self._raw: bytes | None = None
        self._listeners: list[Use] = []
        self._checks: list[Check] = []

    def listen(self, use: Use) -> None:
        """Have `use` called with the settings now and after each change. It may not fail."""
        self._listeners.append(use)
        use(self.current)

    def check(self, refuse: Check) -> None:
        """Have `refuse` called before each change; it raises `BadRequest`."""
        self._checks.append(refuse)

    async def change(self, given: dict[str, Any]) -> tuple[Document, Document]:
        """Change what `given` names; null returns to the environment. Returns before and after.

        In force everywhere when it returns. Raises `BadRequest` naming the field, and
        `StoreError`.
        """

        def merged(before: Document) -> Document:
            after = live_settings.merged(self.base, before, given)
            own = live_settings.readable(self.base, after)
            settings = live_settings.changed(self.base, own)
            for refuse in self._checks:
                refuse(settings, given)
            return after

        live_settings.check_names(given)
        if self._ignored and (more := [name for name in given if given[name] is not None]):
            raise BadRequest(more[0], f"{_IGNORED}; only null is taken")
        done = await self._documents.change(SETTINGS, merged)
        self.take(done.raw)
        return done.before, done.after

    def take(self, raw: bytes | None) -> None:
        """Put the stored document into force, if it is another one."""
        if raw == self._raw:
            return
        stored = decode(raw)
        own = {} if self._ignored else live_settings.readable(self.base, stored)
        self.own = own
        self.not_in_force = {name: stored[name] for name in stored if name not in own}
        if self.not_in_force:
            self._swallowed("live-settings")
        self.current = live_settings.changed(self.base, own)
        taken = [self._put_into_force(use) for use in self._listeners]
        if all(taken):
            self._raw = raw  # else the next round tries again

    def described(self) -> list[dict[str, Any]]:
        """Return every setting as JSON."""
        return live_settings.described(self.base, self.current, self.own)

    @property
    def _ignored(self) -> bool:
        return self.base.live_settings == "ignore"

    def _put_into_force(self, use: Use) -> bool:
        try:
            use(self.current)
        except Exception as error:  # the others must not stay with the old settings
            self._swallowed("live-settings")
            logger.error("a live setting is not in force everywhere: %s", place(error))
            return False
        return True
