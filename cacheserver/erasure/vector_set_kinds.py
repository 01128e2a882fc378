"""Kinds of keys of vector sets, for the registry.

An erasure drops what is in them with the rest of the index (`IndexView.drop_gone`); the keys stay.
"""

from __future__ import annotations

from typing import Final, Literal

_LIFE: Final = "the TTL of its answer"
_STAYS: Final[Literal["stays"]] = "stays"

# Name, type, key, how it is erased, what it holds, lifetime.
ROWS: Final = (
    ("question_sets", "vector set", "vs:<set>", _STAYS, "vectors, digests", _LIFE),
    ("question_deadlines", "sorted set", "vz:<set>", _STAYS, "digests", _LIFE),
    ("question_set_list", "sorted set", "vr:<shard>", _STAYS, "digests", _LIFE),
    ("question_set_counts", "hash", "vm:<shard>", _STAYS, "numbers by digest", "always"),
    (
        "question_sets_state",
        "hash",
        "vi:<embedder>",
        _STAYS,
        "markers, a time",
        "a day after the sets",
    ),
    ("question_set_embedders", "set", "vk", _STAYS, "digests", "always"),
)
