"""Port of the index: where the vectors of stored questions are.

Rule: an index is a derived view. What it has too much is dropped when met, what it lacks is a miss.
An id is an entry's, 32 hexadecimal digits, with the fingerprint behind it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from cacheserver.index.models import Vectors
from cacheserver.index.partition import Match

IndexKind: TypeAlias = Literal["faiss", "vector-sets"]
AreStored: TypeAlias = Callable[[Sequence[str]], Awaitable[Sequence[bool]]]  # of entry ids


class ScopeLoading(Exception):
    """Raised by a search in a scope that is being loaded, and is not in memory yet."""


@dataclass(frozen=True, slots=True)
class ScopeCounts:
    """Scopes in memory, all that are known, and about how many bytes those in memory take.

    `untrained`: scopes in memory that outgrew their inverted lists, or have none yet, and are
    slower to search until `tend` has trained them.
    """

    loaded: int
    known: int
    bytes: int
    limit_bytes: int | None = None
    untrained: int = 0


class SemanticIndex(Protocol):
    """Vectors by scope. Each method raises `StoreError` where the index fails."""

    @property
    def kind(self) -> IndexKind: ...

    @property
    def spare(self) -> int:
        """Return how many more than wanted to search for.

        0: cosines are exact. Else they are approximate: the caller computes them from the stored
        vectors, and drops the last.
        """

    @property
    def lasts(self) -> bool:
        """Return whether it outlives this process, so that it serves before it was compared."""

    @property
    def follows(self) -> bool:
        """Return whether what other servers store must be added here too."""

    @property
    def failing(self) -> bool: ...

    @property
    def scopes(self) -> ScopeCounts | None:
        """Return what is in the memory of this process; None if nothing is."""

    def __len__(self) -> int: ...

    async def open(self) -> None:
        """Read what was stored. Raises `SettingsError` where the operator must act."""

    async def is_full(self) -> bool:
        """Return whether all stored questions were in, when that was last seen to."""

    async def version(self) -> str:
        """Return what changes when something deletes the index, or its server loses it."""

    async def set_full(self, version: str) -> None:
        """Note that all stored questions are in. Raises `StoreError` if the version changed."""

    async def search(self, scope: str, vector: Vectors, k: int, now: float) -> list[Match]:
        """Return up to `k` neighbours in the scope, best first, the newer of two equals first.

        Raises `ScopeLoading` if its vectors are not in memory in time: ask again.
        """

    async def add(self, id: str, scope: str, vector: Vectors, expires_at: float) -> None:
        """Add a unit vector, in the place of any with the same id."""

    async def remove(self, id: str, scope: str) -> bool:
        """Remove a vector; return whether it was in."""

    async def holds(self, id: str, scope: str) -> bool: ...

    def pages(self) -> AsyncIterator[Sequence[str]]:
        """Yield all ids that are in, some at a time; some twice."""

    async def next_page(self) -> list[tuple[str, str]]:
        """Return some ids with their scopes, to be compared with the store."""

    async def discard_gone(self, are_stored: AreStored) -> int:
        """Remove what has no stored entry, for good; return how many there were.

        An entry is added after it was stored: what is in before `are_stored` is asked is gone.
        """

    async def tend(self) -> None:
        """Remove what has expired. Called off the request path."""

    async def save(self) -> None: ...

    async def wipe(self) -> None:
        """Delete all of it, on disk too."""

    async def close(self) -> None: ...
