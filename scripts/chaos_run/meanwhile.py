"""A purge, an erasure, a revocation and a bar while a fault is on, and who knows of them.

A server that was cut off must serve nothing that it remembers, and forget it before it serves
again. A breach shows for moments only: servers are asked all the while, faster after the fault.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from scripts.chaos_run.caller import OTHER_LIMIT_S, Tenant
from scripts.chaos_run.history import tag_of
from scripts.chaos_run.operator import Operator
from scripts.chaos_run.processes import Server
from scripts.chaos_run.traffic import PLACES, SPELLINGS

TRIES = 3  # of a question before the fault, for Claude may fail
PAUSE_S = 0.05  # between two of the same questions while the fault is on
QUICK_S = 0.003  # and after it
AFTER_S = 1.0  # for so long

Change: TypeAlias = Callable[[Server], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Doomed:
    """A question that finds an answer, but no more once `change` was made."""

    tenant: Tenant
    question: str
    change: Change


class Meanwhile:
    """Changes things through some servers, and asks others. Nobody else asks as `tenant`."""

    def __init__(self, caller: Operator, tenant: Tenant, *, seed: int) -> None:
        self._caller = caller
        self._tenant = tenant
        self._draw = random.Random(f"meanwhile {seed}")
        self._namespace = ""  # of this fault
        self._faults = 0
        self._closed_at: float | None = None
        self._pause_s = PAUSE_S

    @asynccontextmanager
    async def asking(
        self, asked: Sequence[Server], by: Sequence[Server]
    ) -> AsyncIterator[Callable[[], None]]:
        """Have `asked` remember things before a fault; yield what begins to change them.

        They are changed through servers of `by`. On the way out the fault is over: it ends a
        second later, when all changes were answered.
        """
        self._faults += 1
        self._namespace = f"meanwhile-{self._faults}"
        self._closed_at, self._pause_s = None, PAUSE_S
        doomed = await self._prepare(asked, by)
        over = asyncio.Event()
        asking: list[asyncio.Task[None]] = []
        changing: list[asyncio.Future[None]] = []

        def begin() -> None:
            for one in doomed:
                changing.append(asyncio.ensure_future(one.change(self._draw.choice(by))))
                asking.append(asyncio.create_task(self._ask_on(one, asked, over)))

        try:
            yield begin
            self._pause_s = QUICK_S
            await asyncio.sleep(AFTER_S)
            await asyncio.gather(*changing)
        finally:
            over.set()
            await asyncio.gather(*asking)
            if self._closed_at is not None:
                now = time.time()
                self._caller.note_closed(self._closed_at, now, self._tenant, self._namespace)

    async def _prepare(self, asked: Sequence[Server], by: Sequence[Server]) -> list[Doomed]:
        """Store answers and have servers remember them; those that Claude answered."""
        numbers = (f"What is meanwhile number {10 * self._faults + n}" for n in range(3))
        purged, erased, shared = numbers
        place, (one, other) = self._draw.choice(PLACES), SPELLINGS
        questions = (purged, erased, shared, one.format(place))
        ids = await asyncio.gather(
            *(self._store(each, self._draw.choice(by)) for each in questions)
        )
        key = await self._caller.create_key(self._tenant.name, at=self._draw.choice(by))
        found = []
        if ids[0] is not None:
            found.append(Doomed(self._tenant, purged, self._removal("purge", purged, ids[0])))
        if ids[1] is not None:
            found.append(Doomed(self._tenant, erased, self._removal("erase", erased, ids[1])))
        if ids[2] is not None and key is not None:
            found.append(Doomed(key, shared, self._revocation(key)))
        if ids[3] is not None:
            found.append(Doomed(self._tenant, other.format(place), self._close))
        for _ in range(2):  # what is read once is remembered, and served from memory the second
            await asyncio.gather(*(self._ask(each, at) for each in found for at in asked))
        return found

    async def _store(self, question: str, at: Server) -> str | None:
        """Ask for an answer; the id of its entry, None where none was stored."""
        for _ in range(TRIES):
            event = await self._caller.ask(self._tenant, self._namespace, question, at=at)
            if event.stored:
                return event.entry
        return None

    def _removal(self, kind: str, question: str, entry: str) -> Change:
        by, name = self._draw.choice((("entry", entry), ("tag", tag_of(question))))

        async def remove(at: Server) -> None:
            await self._caller.remove(self._tenant, kind, by, name, at=at)

        return remove

    def _revocation(self, key: Tenant) -> Change:
        async def revoke(at: Server) -> None:
            await self._caller.revoke(key.key_id, at=at)

        return revoke

    async def _close(self, at: Server) -> None:
        self._closed_at = await self._caller.close(
            self._tenant, self._namespace, closed=True, at=at
        )

    async def _ask_on(self, one: Doomed, asked: Sequence[Server], over: asyncio.Event) -> None:
        while not over.is_set():
            await asyncio.gather(*(self._ask(one, at) for at in asked))
            await asyncio.sleep(self._pause_s)

    async def _ask(self, one: Doomed, at: Server) -> None:
        await self._caller.ask(
            one.tenant,
            self._namespace,
            one.question,
            control="only-if-cached",
            limit_s=OTHER_LIMIT_S,  # a key that is not remembered is read from the store
            at=at,
        )
