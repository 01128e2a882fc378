"""Contents of an index, and a store that has entries or not."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cacheserver.cache.semantic_index.port import AreStored, SemanticIndex


async def names_in(index: SemanticIndex) -> set[str]:
    return {name async for page in index.pages() for name in page}


def all_but(gone: Collection[str]) -> AreStored:
    """Return a store that has every entry but those of these names."""
    ids = {name[:32] for name in gone}

    async def are_stored(entry_ids: Sequence[str]) -> list[bool]:
        return [id not in ids for id in entry_ids]

    return are_stored
