"""A tenant's last decisions as dry runs replay them, remembered from one dry run to the next.

A person who moves a slider replays the same decisions again and again, and most of the time goes
into reading records and questions. What is remembered is of the stored bytes as they are: what was
erased or recorded again since is not used. Who looks at the bars of a tenant will soon try some, so
its decisions are read in the background then (`prepare`).

Rule: what is remembered holds ids, digests and numbers, and no text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from cacheserver.cache.ports import Metrics
from cacheserver.cache.store.lru_bytes import LruBytes
from cacheserver.calibration.what_if_rules import PastDecision, read_past_decision
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.matching.language import ALL_VETOES, Language, vetoes_between
from cacheserver.matching.profile import Profile

_MAX_BYTES = 32 * 2**20
_BYTES = 4_000  # of a decision with five candidates, measured
_READ = 200  # at once, in a thread: half a second of the word rules at most


class Decisions(Protocol):
    """The decision log."""

    async def near(self, tenant: str) -> list[dict[str, Any]]:
        """Return the tenant's last decisions that had a similar candidate."""

    async def near_stored(self, tenant: str) -> list[tuple[str, bytes]]:
        """Return the same by id, as they are stored."""

    async def decoded(
        self, tenant: str, named: Sequence[tuple[str, bytes]]
    ) -> list[dict[str, Any] | None]:
        """Return decisions by ids and stored values, None for what cannot be read."""


class _Kept(NamedTuple):
    value: int  # hash of the stored value
    past: PastDecision | None


class Replayable(NamedTuple):
    """A tenant's last decisions, newest first."""

    decisions: list[PastDecision]
    stored: Mapping[str, bytes]  # all of them, by id: those that no bar decided, too


class PastDecisions:
    """Reader of past decisions. `made` returns whether a record is of the embedder in use."""

    def __init__(
        self,
        log: Decisions,
        *,
        made: Callable[[Mapping[str, Any]], bool],
        language: Language,
        metrics: Metrics,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        self._log = log
        self._made = made
        self._language = language
        self._metrics = metrics
        self._prepared: tuple[str, asyncio.Task[None]] | None = None  # the last tenant
        self._kept = LruBytes[tuple[str, str], _Kept](max_bytes)

    def prepare(self, tenant: str) -> None:
        """Read a tenant's decisions in the background: some two seconds, once, of one tenant at a
        time.
        """
        if self._prepared is not None:
            last, task = self._prepared
            if last == tenant or not task.done():
                return
        task = asyncio.create_task(self._prepare(tenant), name="calibration:past-decisions")
        self._prepared = tenant, task

    async def close(self) -> None:
        """Stop what `prepare` began."""
        if self._prepared is not None:
            await end(self._prepared[1])

    async def of(self, tenant: str) -> Replayable:
        """Return the decisions that had a similar candidate. Raises `StoreError`."""
        if self._prepared is not None and self._prepared[0] == tenant:
            await asyncio.wait({self._prepared[1]})  # not to read the same twice
        return await self._of(tenant)

    async def _prepare(self, tenant: str) -> None:
        try:
            await self._of(tenant)
        except StoreError:
            self._metrics.swallowed("past-decisions")

    async def _of(self, tenant: str) -> Replayable:
        stored = await self._log.near_stored(tenant)
        found: dict[str, PastDecision | None] = {}
        new: list[tuple[str, bytes]] = []
        for id, value in stored:
            kept = self._kept.get((tenant, id))
            if kept is not None and kept.value == hash(value):
                found[id] = kept.past
            else:
                new.append((id, value))
        for start in range(0, len(new), _READ):
            some = new[start : start + _READ]
            records = await self._log.decoded(tenant, some)
            pasts = await asyncio.to_thread(self._read, records)
            for (id, value), past in zip(some, pasts, strict=True):
                found[id] = past
                self._kept.put((tenant, id), _Kept(hash(value), past), _BYTES)
        decisions = [past for id, _ in stored if (past := found[id]) is not None]
        return Replayable(decisions, dict(stored))

    async def records(
        self, tenant: str, replayed: Replayable, ids: Sequence[str]
    ) -> list[dict[str, Any] | None]:
        """Return records with their questions, None for one that cannot be read."""
        return await self._log.decoded(tenant, [(id, replayed.stored[id]) for id in ids])

    def _read(self, records: Sequence[Mapping[str, Any] | None]) -> list[PastDecision | None]:
        profiles: dict[str, Profile] = {}

        def profile(text: str) -> Profile:
            if text not in profiles:
                profiles[text] = self._language.profile(text)
            return profiles[text]

        def vetoes(one: str, other: str) -> tuple[str, ...]:
            return vetoes_between(profile(one), profile(other), ALL_VETOES, self._language)

        return [
            None if record is None or not self._made(record) else read_past_decision(record, vetoes)
            for record in records
        ]
