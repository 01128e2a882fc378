"""Ids and digests that an erasure covers, collected before anything is removed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cacheserver.conversations import trimming
from cacheserver.core import json_text
from cacheserver.core.types import Entry


@dataclass(slots=True)
class ErasureCover:
    """Ids and digests that an erasure is known to cover."""

    entries: set[str] = field(default_factory=set)
    fingerprints: set[str] = field(default_factory=set)
    scopes: set[str] = field(default_factory=set)
    decisions: set[str] = field(default_factory=set)
    callers: frozenset[str] = frozenset()  # of an actor, with each key of the tenant
    answers: list[Any] = field(default_factory=list)  # contents, where one entry is erased

    def add(self, entry: Entry, *, answer: bool) -> None:
        self.entries.add(entry.id)
        self.fingerprints.add(entry.fingerprint)
        self.scopes.add(entry.scope)
        if answer and (turn := trimming.remembered(json_text.loads(entry.message))) is not None:
            self.answers.append(turn["content"])
