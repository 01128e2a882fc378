"""Corroboration: entries that may serve other people only with a second witness.

Rule: a witness has a name. A caller without one corroborates nothing, and is served by similarity
only from entries that are already corroborated.
"""

from __future__ import annotations

from collections.abc import Sequence

from cacheserver.core.types import Candidate, Entry, Query


def may_serve(query: Query, candidate: Candidate) -> bool:
    """Return True if an entry that is only similar may serve this asker."""
    if not query.tenant.corroborate or candidate.corroborated:
        return True
    return query.actor is not None and candidate.entry.actor == query.actor


def corroborated(fresh: Entry, agreeing: Sequence[Entry]) -> list[Entry]:
    """Return the entries that a fresh answer corroborates, itself included, or none.

    `agreeing` are the entries whose answers say the same.
    """
    others = [
        entry
        for entry in agreeing
        if None not in (fresh.actor, entry.actor) and entry.actor != fresh.actor
    ]
    return [fresh, *others] if others else []
