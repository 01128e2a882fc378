"""Stores records from elsewhere as entries: the same put, the same identity as a request's answer.

Rule: what is stored is never less guarded than an answer of Claude's: a request that bypasses the
cache, a volatile question and an answer that does not fit the request's schema are refused, and no
lifetime is longer than the tenant's settings allow. `planned` says what takes another's place.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cacheserver.cache.store.semantic import SemanticEntries
from cacheserver.cache.store.stored_entry import Replaced
from cacheserver.calibration.labels import Labels
from cacheserver.core.types import Entry, Tenant
from cacheserver.transfer.import_store import ImportJob
from cacheserver.transfer.planned import (
    STORED_NOW,
    Planned,
    PlannedLabel,
    in_place_of,
    placement,
)
from cacheserver.transfer.records import Problem

# Entries stored at once: some with the embedder, those before them on their way to the store.
_AT_ONCE: Final = 128


@dataclass(frozen=True, slots=True)
class Outcome:
    """Counts of a batch, and its problems."""

    counts: Counter[str]
    problems: list[Problem]


@dataclass(slots=True)
class _Batch:
    job: ImportJob
    tenant: Tenant
    asked_at: float
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def name(self, problem: Problem, count: str = "refused") -> None:
        self.counts[count] += 1
        self.problems.append(problem)


@dataclass(frozen=True, slots=True)
class _Write:
    """An entry to be put in the place of `old`, and whether that one lives."""

    planned: Planned
    old: Entry | None
    replaces: bool


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
        batch = _Batch(job, tenant, self._clock())
        chosen = _chosen(batch, planned)
        writes, refused = _placed(batch, chosen, await self._present(chosen))
        await self._refuse(batch, writes, refused)  # before the answers are found
        # Those of one length are embedded together.
        writes.sort(key=lambda write: len(write.planned.entry.text or ""))
        await _each(self._put(batch, write) for write in writes)
        await self._learn(job, [one for one in planned if isinstance(one, PlannedLabel)], batch)
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

    async def _present(self, chosen: Sequence[Planned]) -> list[Entry | None]:
        search = self._entries.entries.search
        return await search.by_fingerprint([one.entry.fingerprint for one in chosen])

    async def _refuse(
        self, batch: _Batch, writes: Sequence[_Write], refused: Sequence[tuple[str, Entry]]
    ) -> None:
        """Refuse entries to the questions that they, or those they replace, were found wrong for.

        What an old answer was found wrong for was another question than its own.
        """
        tombstones, tenant = self._labels.tombstones, batch.tenant
        heirs = {
            one.old.id: one.planned.entry.id
            for one in writes
            if one.replaces and one.old is not None
        }
        until = max((one.planned.entry.expires_at for one in writes), default=0.0)
        await tombstones.inherit(tenant.name, heirs, until + tenant.stale_s + 1)

        async def refuse(question: str, entry: Entry) -> None:
            life_s = round(entry.expires_at - batch.asked_at + tenant.stale_s) + 1
            await tombstones.add(tenant.name, question, entry.id, life_s=life_s)

        await _each(refuse(*one) for one in refused)

    async def _put(self, batch: _Batch, write: _Write) -> None:
        one, old = write.planned, write.old
        stored = await self._entries.put(
            one.entry,
            keep_s=batch.tenant.stale_s,
            asked_at=batch.asked_at,
            behind=True,
            replaces=Replaced("" if old is None else old.id, one.worth, one.curated or one.pin),
        )
        if stored:
            batch.counts["replaced" if write.replaces else "stored"] += 1
        else:
            batch.name(Problem(one.where, _REFUSED))

    async def _learn(self, job: ImportJob, labels: Sequence[PlannedLabel], batch: _Batch) -> None:
        """Add labels that their scopes do not have."""
        known: dict[str, set[str]] = {}
        for one in labels:
            if one.scope not in known:
                rows = await self._labels.window(job.tenant, one.scope)
                known[one.scope] = {_identity(row) for _, row in rows}
            identity = _identity(one.row)
            if identity in known[one.scope]:
                batch.counts["unchanged"] += 1
                continue
            known[one.scope].add(identity)
            row = {**one.row, _IMPORT: job.id}
            digest = hashlib.sha256(identity.encode()).hexdigest()
            await self._labels.add(job.tenant, one.scope, row, once=f"{job.id}:{digest}")
            batch.counts["labels"] += 1


def _chosen(batch: _Batch, planned: Sequence[Planned | PlannedLabel | Problem]) -> list[Planned]:
    """Return the entries of a batch, each question once; note what is wrong with the rest."""
    chosen: dict[str, Planned] = {}
    for one in planned:
        if isinstance(one, Problem):
            batch.name(one)
        elif isinstance(one, Planned) and one.entry.fingerprint in chosen:
            batch.counts["unchanged"] += 1
        elif isinstance(one, Planned):
            chosen[one.entry.fingerprint] = one
    return list(chosen.values())


def _placed(
    batch: _Batch, chosen: Sequence[Planned], present: Sequence[Entry | None]
) -> tuple[list[_Write], list[tuple[str, Entry]]]:
    """Return what to store, and which standing answer is refused to which question."""
    writes, refused = list[_Write](), list[tuple[str, Entry]]()
    for one, old in zip(chosen, present, strict=True):
        where = placement(batch.job, one, old, batch.asked_at)
        stands = one.entry if where in STORED_NOW else old
        match where:
            case "new":
                writes.append(_Write(one, old, replaces=False))
            case "replaced":
                assert old is not None
                writes.append(_Write(in_place_of(one, old), old, replaces=True))
            case "another tenant's":
                stands = None
                batch.name(Problem(one.where, _ANOTHERS))
            case "conflict":
                batch.name(Problem(one.where, _CONFLICT), "conflict")
            case "stored" | "unchanged" | "kept":
                batch.counts[where] += 1
        if stands is not None:
            refused += [(question, stands) for question in one.refused_to]
    return writes, refused


async def _each(work: Iterable[Awaitable[None]]) -> None:
    """Do all of it, a few at a time."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(each: Awaitable[None]) -> None:
        async with limit:
            await each

    await asyncio.gather(*map(one, work))


_IMPORT: Final = "import"  # field of a label: the import that brought it


def _identity(row: Mapping[str, Any]) -> str:
    """Return what two copies of a label have in common."""
    return json.dumps({k: v for k, v in row.items() if k != _IMPORT}, sort_keys=True)


_ANOTHERS: Final = "was not stored: its fingerprint is that of another tenant's answer"
_CONFLICT: Final = (
    "was not stored: an operator has curated the answer that is there; an import that says "
    "`replace` takes its place"
)
_REFUSED: Final = "was not stored: purged or replaced meanwhile, or too large for the cache"
