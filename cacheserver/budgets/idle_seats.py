"""Seats of concurrent misses that have become free, kept on this server for the next miss."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from cacheserver.budgets.rate_limit_store import Seats

KEPT_S = 1.0
# A server keeps a hundredth of a limit at most, so the others lack no more than that: of limits
# below 100 none.
_SHARE = 100

AllSeats: TypeAlias = tuple[Seats, ...]  # of a miss: its tenant's and its key's


@dataclass(frozen=True, slots=True)
class _Idle:
    id: str
    taken_at: float
    timer: asyncio.TimerHandle


class IdleSeats:
    """Free seats that the store still counts as taken.

    `give` returns a seat to the store, `KEPT_S` after it became free. `lease_s`: one that was taken
    longer ago is not kept, so that after a loss of data the store soon counts all of them again.
    """

    def __init__(self, give: Callable[[str, AllSeats], None], lease_s: float) -> None:
        self._give = give
        self._lease_s = lease_s
        self._idle: dict[AllSeats, list[_Idle]] = {}

    def take(self, seats: AllSeats) -> tuple[str, float] | None:
        """Return the id of an idle seat and when it was taken; None: there is none."""
        if not (idle := self._idle.get(seats)):
            return None
        found = idle.pop()
        found.timer.cancel()
        if not idle:
            del self._idle[seats]
        return found.id, found.taken_at

    def keep(self, seats: AllSeats, id: str, taken_at: float, now: float) -> bool:
        """Keep a seat that has become free; False: it is to be returned."""
        idle = self._idle.get(seats, [])
        most = min([one.most for one in seats]) // _SHARE
        if len(idle) >= most or not 0 <= now - taken_at < self._lease_s:
            return False
        timer = asyncio.get_running_loop().call_later(KEPT_S, self._drop, seats, id)
        self._idle.setdefault(seats, idle).append(_Idle(id, taken_at, timer))
        return True

    def held(self) -> list[tuple[str, str]]:
        """Return (seats, id) of each."""
        return [(of.name, one.id) for key, idle in self._idle.items() for one in idle for of in key]

    def clear(self) -> None:
        """Return all of them to the store."""
        for seats in list(self._idle):
            while (found := self.take(seats)) is not None:
                self._give(found[0], seats)

    def _drop(self, seats: AllSeats, id: str) -> None:
        left = [one for one in self._idle.pop(seats) if one.id != id]
        if left:
            self._idle[seats] = left
        self._give(id, seats)
