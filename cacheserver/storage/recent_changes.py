"""Removals of the last minute, made again after a replica has taken over.

A replica that takes over may lack the last changes of the primary. What was removed would be back:
the server that removed it removes it again, before it trusts anything it remembers.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

_KEPT_S: Final = 60.0  # a replica that is further behind is not up: Redis itself drops it by then

Redo: TypeAlias = Callable[[], Awaitable[object]]
Tell: TypeAlias = Callable[[str, str], Awaitable[object]]


class History(Protocol):
    """The primary; `generation` counts how often its data became another server's."""

    @property
    def generation(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _Note:
    at: float
    redo: Redo
    kind: str
    body: str


class RecentChanges:
    """Notes of changes; none is kept for a store without replicas."""

    def __init__(
        self, history: History | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._history = history
        self._clock = clock
        self._notes: deque[_Note] = deque()
        self._redone = 0  # the generation that has all of them

    @property
    def due(self) -> bool:
        """Return whether a replica has taken over, and may lack changes."""
        return self._history is not None and self._history.generation != self._redone

    def note(self, redo: Redo, kind: str = "", body: str = "") -> None:
        """Note a change before it is made.

        `redo` makes it, once more or for the first time; then servers are told of `kind` and
        `body` (`peers`), if it has a kind.
        """
        if self._history is None:
            return
        now = self._clock()
        while self._notes and now - self._notes[0].at > _KEPT_S:
            self._notes.popleft()
        self._notes.append(_Note(now, redo, kind, body))

    async def redo(self, tell: Tell) -> None:
        """Make the noted changes again, if a replica has taken over. Raises `StoreError`."""
        while self._history is not None and self.due:
            generation, oldest = self._history.generation, self._clock() - _KEPT_S
            for note in [one for one in self._notes if one.at >= oldest]:
                await note.redo()
                if note.kind:
                    await tell(note.kind, note.body)
            self._redone = generation
