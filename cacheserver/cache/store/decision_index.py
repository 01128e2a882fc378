"""The index of decisions: one row of fixed size each, by which they are searched.

A row holds numbers and digests only. `decision_search` filters rows, then reads the records of
those that may match, so a digest that two names share costs a read and changes no result.

Rule: another layout has another key (`decision_scripts`): a row has no mark of its version.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from cacheserver.core.ledger_row import Row
from cacheserver.storage.stored_row import FACTS_BYTES

MILLIONTHS: Final = 1_000_000  # of a similarity or probability, as which they are stored
ABSENT: Final = -(2**31)
UNKNOWN: Final = -(2**63)  # a cost
MOST_ID: Final = 32  # bytes

# Scope, namespace, veto, similarity, probability.
_FACTS: Final = struct.Struct("<QIIii")
# Id, time, cost, saving, outcome, reason, model that answered, model asked, facts.
_ROW: Final = struct.Struct(f"<{MOST_ID}sdqqIIII{FACTS_BYTES}s")
ROW_BYTES: Final = _ROW.size
assert _FACTS.size == FACTS_BYTES


@lru_cache(maxsize=4_096)
def digest(name: str) -> int:
    """Return 64 bits that stand for a name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")


def short(name: str) -> int:
    """Return 32 bits that stand for a name."""
    return digest(name) & 0xFFFFFFFF


def facts(
    *,
    scope: str,
    namespace: str,
    veto: str | None,
    similarity: float | None,
    probability: float | None,
) -> bytes:
    """Pack what the ledger's row does not say of a decision."""
    return _FACTS.pack(
        digest(scope),
        short(namespace),
        0 if veto is None else short(veto),
        ABSENT if similarity is None else round(similarity * MILLIONTHS),
        ABSENT if probability is None else round(probability * MILLIONTHS),
    )


def pack(row: Row, packed_facts: bytes) -> bytes:
    """Return the row of a decision, empty for one whose id is too long."""
    id = row.id.encode()
    if len(id) > MOST_ID:
        return b""
    cost = row.shown_cost
    return _ROW.pack(
        id,
        round(row.at, 6),
        UNKNOWN if cost is None else cost,
        row.net - row.verification,
        short(row.outcome),
        short(row.reason),
        short(row.model or ""),
        short(row.asked),
        packed_facts,
    )
