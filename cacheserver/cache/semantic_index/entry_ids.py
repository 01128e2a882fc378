"""Comparison of what is in an index with what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt

from cacheserver.cache.semantic_index.port import AreStored

_Hashes = npt.NDArray[np.int64]


class EntryIds:
    """Set of entry ids, which knows of which of them it was asked: 9 bytes for each.

    It has hashes of 64 bits. Of ten million ids, one that is not in counts as in with a
    probability of 10^7 / 2^64; such an entry is not found by similarity.
    """

    def __init__(self, hashes: _Hashes) -> None:
        self._hashes = np.unique(hashes)
        self._met = np.zeros(len(self._hashes), np.bool_)

    @classmethod
    async def read(
        cls,
        pages: AsyncIterable[Sequence[str]],
        *,
        note: Callable[[str], object] = lambda fingerprint: None,
    ) -> EntryIds:
        """Read the names in an index: each an entry's id and the fingerprint, which is noted.

        Raises `StoreError`.
        """
        found = [np.empty(0, np.int64)]
        async for page in pages:
            found.append(_hashed([name[:32] for name in page]))
            for name in page:
                note(name[32:])
            await asyncio.sleep(0)  # requests are answered meanwhile
        return await asyncio.to_thread(lambda: cls(np.concatenate(found)))

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def unmet(self) -> int:
        """Return how many ids of the set `meet` was not given."""
        return len(self._met) - int(np.count_nonzero(self._met))

    def meet(self, ids: Collection[str]) -> list[str]:
        """Return those of the ids that are not in the set. The others are met from then on."""
        if not len(self._hashes):
            return list(ids)
        wanted = _hashed(ids)
        places = np.searchsorted(self._hashes, wanted).clip(max=len(self._hashes) - 1)
        is_in = self._hashes[places] == wanted
        self._met[places[is_in]] = True
        return [id for id, known in zip(ids, is_in.tolist(), strict=True) if not known]


async def gone_of(names: Sequence[str], are_stored: AreStored) -> set[str]:
    """Return those of the names in an index whose entries are not stored. Raises `StoreError`."""
    if not names:
        return set()
    stored = await are_stored([name[:32] for name in names])
    return {name for name, is_stored in zip(names, stored, strict=True) if not is_stored}


def _hashed(ids: Collection[str]) -> _Hashes:
    return np.fromiter(map(hash, ids), np.int64, len(ids))
