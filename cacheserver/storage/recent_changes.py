"""Removals of the last minute, made again after a replica has taken over.

A replica that takes over may lack the last changes of the primary. What was removed would be back:
each server makes its removals again, and none trusts what it reads before all have (`unsure`).

Rule: what is made again only removes, or replaces what is older (`change_order`). It brings nothing
back that was removed meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from cacheserver.core.errors import StoreError
from cacheserver.storage.lease_clock import since_boot

# A replica that is further behind is not up: Redis itself drops it by then. Of what is older it is
# not known any more whether something newer was made (`change_order`).
_KEPT_S: Final = 60.0

Redo: TypeAlias = Callable[[], Awaitable[object]]
Tell: TypeAlias = Callable[[str, str], Awaitable[object]]


class History(Protocol):
    """The primary; `generation` counts how often its data became another server's."""

    @property
    def generation(self) -> int: ...
    @property
    def history(self) -> bytes: ...  # Redis' name for what it has replicated, and its ancestors


@dataclass(frozen=True, slots=True)
class _Note:
    at: float
    redo: Redo
    kind: str
    body: str


class RecentChanges:
    """Notes of changes; none is kept for a store without replicas."""

    def __init__(self, history: History | None, *, clock: Callable[[], float] = since_boot) -> None:
        self._history = history
        self._clock = clock
        self._notes: deque[_Note] = deque()
        self._untold: list[tuple[str, str]] = []  # kinds and bodies of what was made again
        self._redone = 0  # the generation that has all of them
        self._agreed = 0  # the one that has those of all servers

    @property
    def takeovers(self) -> int:
        """Return how often a replica has taken over."""
        return 0 if self._history is None else self._history.generation

    @property
    def history(self) -> bytes:
        """Return Redis' name for the data of the primary; b"" for a store without replicas."""
        return b"" if self._history is None else self._history.history

    @property
    def due(self) -> bool:
        """Return whether a replica has taken over, and may lack changes of this server's."""
        return self.takeovers != self._redone

    @property
    def unsure(self) -> bool:
        """Return whether a replica has taken over, and may lack changes of any server's."""
        return self.takeovers != self._agreed

    def check(self) -> None:
        """Return if what was just read may be trusted; else raise `StoreError`."""
        if self.unsure:
            raise StoreError("a replica has taken over, and may have back what was removed")

    def note(self, redo: Redo, kind: str = "", body: str = "") -> None:
        """Note a change before it is made.

        `redo` makes it, once more or for the first time; once all servers agree, they are told of
        `kind` and `body` (`peers`), if it has a kind.
        """
        if self._history is None:
            return
        now = self._clock()
        while self._notes and now - self._notes[0].at > _KEPT_S:
            self._notes.popleft()
        self._notes.append(_Note(now, redo, kind, body))

    async def redo(self) -> None:
        """Make the noted changes again, if a replica has taken over. Raises `StoreError`."""
        while self.due:
            generation = self.takeovers
            for note in list(self._notes):
                if self._clock() - note.at > _KEPT_S:
                    continue
                await note.redo()
                if note.kind and (note.kind, note.body) not in self._untold:
                    self._untold.append((note.kind, note.body))
            self._redone = generation

    def doubt(self) -> None:
        """Note that a replica may have taken over a moment before this server began."""
        self._agreed = -1  # no takeover has this number

    def agree(self, generation: int) -> None:
        """Note that every server has made its changes again, up to that takeover."""
        self._agreed = generation

    async def tell(self, tell: Tell) -> None:
        """Tell of what was made again. Raises `StoreError`; then what is left is told later."""
        while self._untold and not self.unsure:
            await tell(*self._untold[0])
            del self._untold[0]
