"""Stores records from elsewhere as entries: the same put, the same identity as a request's answer.

Rule: what is stored is never less guarded than an answer of Claude's: a request that bypasses the
cache, a volatile question and an answer that does not fit the request's schema are refused, and no
lifetime is longer than the tenant's settings allow. Only a curated answer takes another's place.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cacheserver.cache.store.semantic import SemanticEntries
from cacheserver.cache.store.stored_entry import Replaced
from cacheserver.calibration.labels import Labels
from cacheserver.core.types import Entry, Nanodollars, Tenant
from cacheserver.transfer.import_store import ImportJob
from cacheserver.transfer.records import Problem

# Texts given to the embedder at once: two of its batches, so that a caller's question waits for
# that much at most, some ten milliseconds.
_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Planned:
    """An entry to be stored, and where it came from."""

    where: str
    entry: Entry
    worth: Nanodollars  # what a hit saves, for the size limit
    curated: bool  # takes the place of a live answer, and is pinned
    pin: bool = False  # pinned all the same
    refused_to: tuple[str, ...] = ()  # fingerprints of questions that it was found wrong for


@dataclass(frozen=True, slots=True)
class PlannedLabel:
    """A label to be added to a scope."""

    where: str
    scope: str
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Counts of a batch, and its problems."""

    counts: Counter[str]
    problems: list[Problem]


@dataclass(slots=True)
class _Batch:
    asked_at: float
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)


class Importer:
    """Stores planned entries. `clock` returns Unix seconds."""

    def __init__(
        self, entries: SemanticEntries, labels: Labels, *, clock: Callable[[], float]
    ) -> None:
        self._entries = entries
        self._labels = labels
        self._clock = clock

    async def store(
        self, job: ImportJob, tenant: Tenant, planned: Sequence[Planned | PlannedLabel | Problem]
    ) -> Outcome:
        """Store a batch. Sent again, it finds what it stored the first time. Raises `StoreError`.

        A question that comes twice in it is stored once: the first.
        """
        batch = _Batch(self._clock())
        chosen, seen, labels = list[Planned](), set[str](), list[PlannedLabel]()
        for one in planned:
            if isinstance(one, Problem):
                batch.counts["refused"] += 1
                batch.problems.append(one)
            elif isinstance(one, PlannedLabel):
                labels.append(one)
            elif one.entry.fingerprint in seen:
                batch.counts["unchanged"] += 1
            else:
                seen.add(one.entry.fingerprint)
                chosen.append(one)
        present = await self._entries.entries.search.by_fingerprint(
            [one.entry.fingerprint for one in chosen]
        )
        work = list[tuple[Planned, Entry | None]]()
        refused = list[tuple[str, Entry]]()  # fingerprint of a question, and the answer
        for one, old in zip(chosen, present, strict=True):
            if old is not None and old.tenant != tenant.name:
                batch.counts["refused"] += 1
                batch.problems.append(Problem(one.where, _ANOTHERS))
            elif old is None or old.expires_at <= batch.asked_at:
                work.append((one, None))
            elif old.message == one.entry.message and (job.tag in old.tags or job.kind == "export"):
                # with the tag: by this import, before it was interrupted
                batch.counts["stored" if job.tag in old.tags else "unchanged"] += 1
                refused += [(question, old) for question in one.refused_to]
            elif one.curated:
                work.append((_in_place_of(one, old), old))
            else:
                batch.counts["kept"] += 1
        # What an old answer was found wrong for: its question was another one.
        heirs = {old.id: one.entry.id for one, old in work if old is not None}
        until = max((one.entry.expires_at for one, _ in work), default=0.0) + tenant.stale_s + 1
        await self._labels.tombstones.inherit(tenant.name, heirs, until)
        refused += [(question, one.entry) for one, _ in work for question in one.refused_to]

        limit = asyncio.Semaphore(_AT_ONCE)

        async def refuse(question: str, entry: Entry) -> None:
            async with limit:
                life_s = round(entry.expires_at - batch.asked_at + tenant.stale_s) + 1
                await self._labels.tombstones.add(tenant.name, question, entry.id, life_s=life_s)

        async def put(one: Planned, old: Entry | None) -> None:
            async with limit:
                await self._put(batch, tenant, one, old)

        await asyncio.gather(*(refuse(*one) for one in refused))  # before the answers are found
        await asyncio.gather(*(put(one, old) for one, old in work))
        await self._learn(job, labels, batch.counts)
        return Outcome(batch.counts, batch.problems)

    async def undo(self, job: ImportJob) -> dict[str, int]:
        """Remove all that an import stored; the counts of entries and labels. Raises `StoreError`.

        A batch under way was asked for before, so it stores no more entries.
        """
        removed = await self._entries.entries.purge_tag(job.tenant, job.tag)
        labels = 0
        if job.kind == "export":
            for scope in await self._labels.scopes(job.tenant):
                for id, row in await self._labels.window(job.tenant, scope):
                    if row.get(_IMPORT) == job.id:
                        await self._labels.retract(job.tenant, scope, id)
                        labels += 1
        return {"entries": removed, "labels": labels}

    async def _learn(
        self, job: ImportJob, labels: Sequence[PlannedLabel], counts: Counter[str]
    ) -> None:
        """Add labels that their scopes do not have."""
        known: dict[str, set[str]] = {}
        for one in labels:
            if one.scope not in known:
                rows = await self._labels.window(job.tenant, one.scope)
                known[one.scope] = {_identity(row) for _, row in rows}
            identity = _identity(one.row)
            if identity in known[one.scope]:
                counts["unchanged"] += 1
                continue
            known[one.scope].add(identity)
            row = {**one.row, _IMPORT: job.id}
            digest = hashlib.sha256(identity.encode()).hexdigest()
            await self._labels.add(job.tenant, one.scope, row, once=f"{job.id}:{digest}")
            counts["labels"] += 1

    async def _put(self, batch: _Batch, tenant: Tenant, one: Planned, old: Entry | None) -> None:
        stored = await self._entries.put(
            one.entry,
            keep_s=tenant.stale_s,
            asked_at=batch.asked_at,
            replaces=Replaced("" if old is None else old.id, one.worth, one.curated or one.pin),
        )
        if not stored:
            batch.counts["refused"] += 1
            batch.problems.append(Problem(one.where, _REFUSED))
            return
        batch.counts["stored" if old is None else "replaced"] += 1


_IMPORT: Final = "import"  # field of a label: the import that brought it


def _identity(row: Mapping[str, Any]) -> str:
    """Return what two copies of a label have in common."""
    return json.dumps({k: v for k, v in row.items() if k != _IMPORT}, sort_keys=True)


_ANOTHERS: Final = "was not stored: its fingerprint is that of another tenant's answer"
_REFUSED: Final = "was not stored: purged or replaced meanwhile, or too large for the cache"


def _in_place_of(one: Planned, old: Entry) -> Planned:
    """Return a curated answer with the usage of the one that it replaces: what a hit saves."""
    return replace(one, entry=replace(one.entry, model=old.model, usage=old.usage))
