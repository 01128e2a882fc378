"""Ids and digests that an erasure covers, collected before anything is removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
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
    answers: set[str] = field(default_factory=set)  # digests of contents, if one entry is erased

    def add(self, entry: Entry, *, answer: bool) -> None:
        self.entries.add(entry.id)
        self.fingerprints.add(entry.fingerprint)
        self.scopes.add(entry.scope)
        if answer and (turn := trimming.remembered(json_text.loads(entry.message))) is not None:
            self.answers.add(digest(turn["content"]))

    def kept(self) -> list[str]:
        """Return what a later pass must know, when the entries are gone."""
        more = [f"={one}" for one in self.answers]
        if more:
            more += [f"#{one}" for one in self.fingerprints]
        return [*self.entries, *more]

    def learn(self, kept: Iterable[str]) -> None:
        """Add what an earlier pass kept."""
        for one in kept:
            found = {"=": self.answers, "#": self.fingerprints}.get(one[:1])
            if found is None:
                self.entries.add(one)
            else:
                found.add(one[1:])


def digest(content: Any) -> str:
    """Return a digest of the content of a turn."""
    return sha256(json_text.dumps(content)).hexdigest()
