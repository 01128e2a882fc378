"""Foils: examples of wrong hits, from questions whose right answer is stored.

Rule: only if the other answer was compared with the fresh one, and is different.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from cacheserver.cache import corroboration
from cacheserver.calibration.answers.comparison import Outcome
from cacheserver.core.evidence import Evidence
from cacheserver.core.types import Candidate, Query
from cacheserver.matching import decision
from cacheserver.matching.language import Language
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.prior import MINILM, Prior
from cacheserver.matching.profile import Profile


def of_neighbours(
    question: Profile,
    neighbours: Sequence[Neighbour],
    group: str,
    outcome_of: Callable[[str], Outcome],
    language: Language,
    prior: Prior = MINILM,
) -> Evidence | None:
    """Return the evidence for the nearest neighbour with another answer than `group`'s.

    `neighbours` are all that the decision saw, nearest first. `outcome_of` returns, by id, how a
    neighbour's answer compares with the fresh one, "open" if it was not compared.
    """
    other = next((n for n in neighbours if n.group != group), None)
    if other is None or outcome_of(other.id) != "different":
        return None
    return decision.foil(question, neighbours, group, language, prior)


async def of_candidates(
    query: Query,
    found: Sequence[Candidate],
    group: str,
    outcome_of: Callable[[str], Outcome],
    language: Language,
    prior: Prior = MINILM,
) -> Evidence | None:
    """Return `of_neighbours` for a decision's candidates; some milliseconds, in a thread."""
    # Entries that may not serve took part in the decision only if there were no others.
    live = [c for c in found if corroboration.may_serve(query, c)] or found

    def work() -> Evidence | None:
        neighbours = [
            Neighbour(
                id=c.entry.id,
                similarity=c.similarity,
                group=c.group or c.entry.id,
                profile=language.profile(c.entry.text or ""),
            )
            for c in live
        ]
        question = language.profile(query.text or "")
        return of_neighbours(question, neighbours, group, outcome_of, language, prior)

    return await asyncio.to_thread(work)
