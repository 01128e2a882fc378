"""Entries and labels to be stored, and what becomes of one whose question has an answer. Pure.

Rule: what a person wrote here is never lost in silence. Only a curated answer takes another's
place, and that of an answer which an operator curated by hand only if the import says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from cacheserver.core.types import Entry, Nanodollars
from cacheserver.transfer.import_store import IMPORT_TAG, ImportJob

# `new` and `replaced` are stored now, `stored` was so by this import before it was interrupted.
Placement: TypeAlias = Literal[
    "new", "replaced", "stored", "unchanged", "kept", "conflict", "another tenant's"
]
STORED_NOW: Final[tuple[Placement, ...]] = ("new", "replaced")


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


def placement(job: ImportJob, one: Planned, old: Entry | None, now: float) -> Placement:
    """Return what becomes of an entry; `old` is what its fingerprint has, expired or not."""
    new = one.entry
    if old is None:
        return "new"
    if old.tenant != new.tenant:
        # A fingerprint that this server computed is the tenant's own, so the other one is forged.
        return "another tenant's" if job.kind == "export" else "new"
    if old.expires_at <= now:
        return "new"
    if old.message == new.message and (job.tag in old.tags or job.kind == "export"):
        return "stored" if job.tag in old.tags else "unchanged"
    if not one.curated:
        return "kept"
    return "conflict" if by_hand(old) and not job.replaces else "replaced"


def by_hand(entry: Entry) -> bool:
    """Return whether an operator curated an answer here, rather than an import."""
    imported = any(tag.startswith(IMPORT_TAG) for tag in entry.tags)
    return entry.origin == "curated" and not imported


def no_longer_imported(entry: Entry) -> Entry:
    """Return an entry without the mark of its import, which an operator edits: it is theirs now."""
    return replace(entry, tags=tuple(one for one in entry.tags if not one.startswith(IMPORT_TAG)))


def in_place_of(one: Planned, old: Entry) -> Planned:
    """Return a curated answer with the usage of the one that it replaces: what a hit saves."""
    return replace(one, entry=replace(one.entry, model=old.model, usage=old.usage))
