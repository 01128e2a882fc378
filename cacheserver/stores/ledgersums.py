"""What the ledger adds up, read back: sums over a range of time, by tenant, key, model and slot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cacheserver.policy import sums
from cacheserver.policy.timerange import SECONDS, Tile
from cacheserver.stores.connection import PREFIX, Connection, store_errors
from cacheserver.stores.ledger import BLOCK, SEP

_AT_ONCE = 500  # hashes of one trip
_DAY_S = 86_400
_SEP = SEP.encode()
_WIDTH = len(sums.NAMES) * 8


class Cell(NamedTuple):  # cheap to make: a report by the day makes one for each cell it reads
    """Whose sums these are. `at` is where its span of time begins, None where none was asked for.

    "" as model stands for all that came when a tenant had too many already.
    """

    tenant: str
    key_id: str
    model: str
    at: int | None


class LedgerSums:
    """Reads sums. Everything here may raise `StoreError`."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._prefix = prefix

    async def tenants(self, start: int, end: int) -> list[str]:
        """Everybody with a row in the 30-day blocks that a range touches."""
        blocks = range(start // _DAY_S // BLOCK["d"], (end - 1) // _DAY_S // BLOCK["d"] + 1)
        found = await self._trip([("SMEMBERS", f"{self._prefix}lt:{block}") for block in blocks])
        return sorted({name.decode() for names in found for name in names})

    async def read(
        self,
        tenants: Iterable[str],
        tiles: Sequence[Tile],
        by: Callable[[Cell], Any],
        *,
        every_s: int | None = None,
    ) -> dict[Any, dict[str, int]]:
        """The sums by name, of each group that `by` makes of cells, apart by spans of `every_s`."""
        wanted = [
            (tenant, tile, f"{self._prefix}ls:{tile.grain}:{block}:{tenant}")
            for tenant in tenants
            for tile in tiles
            for block in _blocks(tile)
        ]
        gathered: defaultdict[Any, list[bytes]] = defaultdict(list)
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            hashes = await self._trip([("HGETALL", key) for _, _, key in some])
            for (tenant, tile, _), fields in zip(some, hashes, strict=True):
                _gather(gathered, tenant, tile, fields, by, every_s)
        return {group: _named(sums.NAMES, _summed(found)) for group, found in gathered.items()}

    async def short(
        self, kind: str, tenants: Iterable[str], first_day: int, end_day: int
    ) -> dict[str, dict[str, int]]:
        """Short sums by name, of tasks ("lk"), tags ("lg") or conversations ("lc").

        "" is what came when there were too many names already.
        """
        keys = [
            f"{self._prefix}{kind}:{day}:{tenant}"
            for tenant in tenants
            for day in range(first_day, end_day)
        ]
        gathered: defaultdict[str, list[bytes]] = defaultdict(list)
        width = len(sums.SHORT) * 8
        for start in range(0, len(keys), _AT_ONCE):
            for fields in await self._trip([("HGETALL", key) for key in keys[start:][:_AT_ONCE]]):
                for name, packed in fields.items():
                    gathered[name.decode()].append(packed.ljust(width, b"\0"))
        return {name: _named(sums.SHORT, _summed(found)) for name, found in gathered.items()}

    async def _trip(self, commands: Sequence[tuple[str, ...]]) -> list[Any]:
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                return list(await pipe.execute())


def _gather(
    gathered: defaultdict[Any, list[bytes]],
    tenant: str,
    tile: Tile,
    fields: Mapping[bytes, bytes],
    by: Callable[[Cell], Any],
    every_s: int | None,
) -> None:
    """Put the cells of a hash to their groups. `by` is asked once for each that differs in it."""
    first, end, seconds = tile.first, tile.end, SECONDS[tile.grain]
    names: dict[bytes, tuple[str, str]] = {}
    known: dict[tuple[bytes, int | None], list[bytes]] = {}
    at = None
    for field, packed in fields.items():
        slot, _, rest = field.partition(_SEP)
        number = int(slot)
        if not first <= number < end:
            continue
        if every_s is not None:
            at = number * seconds // every_s * every_s
        into = known.get((rest, at))
        if into is None:
            name = names.get(rest)
            if name is None:
                key_id, _, model = rest.decode().partition(SEP)
                name = names[rest] = key_id, model
            into = known[rest, at] = gathered[by(Cell(tenant, *name, at))]
        into.append(packed if len(packed) == _WIDTH else packed.ljust(_WIDTH, b"\0"))


def _blocks(tile: Tile) -> range:
    size = BLOCK[tile.grain]
    return range(tile.first // size, (tile.end - 1) // size + 1)


def _summed(packed: Sequence[bytes]) -> list[int]:
    numbers: list[int] = (
        np.frombuffer(b"".join(packed), "<i8").reshape(len(packed), -1).sum(0).tolist()
    )
    return numbers


def _named(names: Sequence[str], numbers: Sequence[int]) -> dict[str, int]:
    return dict(zip(names, numbers, strict=True))
