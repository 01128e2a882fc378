"""Entries that may serve other people by similarity, where a tenant asks for a second witness.

Rule: a witness has a name. Who gave none is nobody's second, and is served by similarity only what
is corroborated already.
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
    """The entries that a fresh answer corroborates, itself among them, or none.

    `agreeing` are the entries whose answers it was found to repeat.
    """
    others = [
        entry
        for entry in agreeing
        if None not in (fresh.actor, entry.actor) and entry.actor != fresh.actor
    ]
    return [fresh, *others] if others else []
