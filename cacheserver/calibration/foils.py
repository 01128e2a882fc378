"""Foils: the evidence a wrong hit would have had, beside a question whose right answer is stored.

Rule: only where the other answer was compared, and is a different one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from cacheserver.cache import corroboration
from cacheserver.calibration.answers.comparison import Outcome
from cacheserver.core.evidence import Evidence
from cacheserver.core.types import Candidate, Query
from cacheserver.matching import decision, profile
from cacheserver.matching.lexicon import Lexicon
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.profile import Profile


def of_neighbours(
    asked: Profile,
    neighbours: Sequence[Neighbour],
    group: str,
    told: Callable[[str], Outcome],
    lexicon: Lexicon,
) -> Evidence | None:
    """The evidence for the nearest of another answer than `group`'s.

    `neighbours` are all that the decision saw, the nearest first; `told` is what comparing a
    neighbour's answer with the fresh one gave, by id, "open" for one that was not compared.
    """
    other = next((n for n in neighbours if n.group != group), None)
    if other is None or told(other.id) != "different":
        return None
    return decision.foil(asked, neighbours, group, lexicon)


async def of_candidates(
    query: Query,
    found: Sequence[Candidate],
    group: str,
    told: Callable[[str], Outcome],
    lexicon: Lexicon,
) -> Evidence | None:
    """Do `of_neighbours` for a decision's candidates; some milliseconds, in a thread."""
    # Entries that may not serve stood beside the decision only where no other did.
    live = [c for c in found if corroboration.may_serve(query, c)] or found

    def work() -> Evidence | None:
        neighbours = [
            Neighbour(
                id=c.entry.id,
                similarity=c.similarity,
                group=c.group or c.entry.id,
                profile=profile.read(c.entry.text or "", lexicon),
            )
            for c in live
        ]
        asked = profile.read(query.text or "", lexicon)
        return of_neighbours(asked, neighbours, group, told, lexicon)

    return await asyncio.to_thread(work)
