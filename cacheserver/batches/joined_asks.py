"""The answer of one call for items that asked something similar: who may have it, at what cost.

Rule: an answer that may not be stored may not be shared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cacheserver.cache.answer import Answer, Settlement
from cacheserver.cache.filled import Filled
from cacheserver.cache.settlement import coalesced, paid
from cacheserver.core.types import Candidate, Entry, Hit, Miss, Nanodollars


@dataclass(frozen=True, slots=True)
class SharedAnswer:
    """An answer, and whether items that asked something similar may have it."""

    message: bytes
    settlement: Settlement  # of the item that paid
    shareable: bool
    entry: Entry | None  # as stored, if known


def from_batch(filled: Filled) -> SharedAnswer:
    """The answer of a batch.

    The answer of a cheaper model is not stored, but shared: the others would get the same.
    """
    settlement = paid(Miss("empty"), filled)
    may = filled.entry is not None or filled.unstored == "budget"
    return SharedAnswer(filled.message, settlement, may, filled.entry)


def from_direct(message: bytes, answer: Answer) -> SharedAnswer:
    """The answer of a direct call.

    A semantic or a stale hit is not shared: similarity is not transitive.
    """
    may, entry = False, None
    match answer.decision:
        case Hit(kind="exact" | "coalesced", candidate=Candidate() as found):
            may, entry = True, found.entry
        case Miss():
            settlement = answer.settlement
            may = settlement.stored is not None or settlement.unstored == "budget"
    return SharedAnswer(message, answer.settlement, may, entry)


def unpaid(settlement: Settlement, entry: Entry | None, saved: Nanodollars | None) -> Settlement:
    """The settlement of an item that paid nothing: the call is in the first item's row only."""
    return replace(
        settlement,
        decision=coalesced(entry),
        cost=0,
        saved=saved,
        prices=None,
        stored=None,
        unstored=None,
        planned=None,
        call=None,
        lost=0,
        heard=None,
        verification=0,
    )
