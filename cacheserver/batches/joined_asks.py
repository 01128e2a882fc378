"""An ask's answer for those who did not ask just that: who may have it, and what it costs them.

Rule: what may not be stored may not be given on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cacheserver.cache.answer import Answer, Settlement
from cacheserver.cache.fill import Filled
from cacheserver.core.types import Candidate, Entry, Hit, Miss, Nanodollars


@dataclass(frozen=True, slots=True)
class SharedAnswer:
    """An ask's answer, as who asked alike may have it."""

    message: bytes
    settlement: Settlement  # of who paid
    given_on: bool
    entry: Entry | None  # as stored, where known


def batched(filled: Filled) -> SharedAnswer:
    """Return what a batch brought. What may not be stored may not be given on.

    But for a cheaper model's answer: that is what they would be given, too.
    """
    settlement = Settlement(
        model=filled.model, usage=filled.usage, cost=filled.cost, ttl_s=filled.ttl_s or None
    )
    may = filled.entry is not None or filled.unstored == "budget"
    return SharedAnswer(filled.message, settlement, may, filled.entry)


def brought(message: bytes, answer: Answer) -> SharedAnswer:
    """Return what an ask brought that was answered at once.

    What was itself found by similarity, or is past its deadline, is not given on: like is no chain.
    """
    may, entry = False, None
    match answer.decision:
        case Hit(kind="exact" | "coalesced", candidate=Candidate() as found):
            may, entry = True, found.entry
        case Miss():
            settlement = answer.settlement
            may = settlement.stored is not None or settlement.unstored == "budget"
    return SharedAnswer(message, answer.settlement, may, entry)


def free(settlement: Settlement, saved: Nanodollars | None) -> Settlement:
    """Settle for one who paid nothing: the call stands on the first one's row only."""
    return replace(
        settlement,
        cost=0,
        saved=saved,
        prices=None,
        stored=None,
        unstored=None,
        asked=None,
        call=None,
        lost=0,
        heard=None,
    )
