"""Reports from the ledger's sums: over a time range, by tenant, key, model and time slot."""

from __future__ import annotations

import asyncio
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from cacheserver.ledger import sums
from cacheserver.ledger.fold import BLOCK, SEP, LedgerFold
from cacheserver.ledger.time_range import SECONDS, Tile
from cacheserver.storage.connection import PREFIX, Connection, store_errors

_BATCH_KEYS = 50  # hashes read in one round trip
_CONCURRENT = 3  # round trips at a time
_FEW = 2_000  # fields added up on the event loop: one or two milliseconds
_DAY_S = 86_400
_SEP = SEP.encode()
_WIDTH = len(sums.NAMES) * 8


class Cell(NamedTuple):
    """Key of a sum. Model "" stands for all models beyond the most a tenant may have."""

    tenant: str
    key_id: str
    model: str


_By: TypeAlias = Callable[[Cell], Any]
_Spans: TypeAlias = defaultdict[int, list[bytes]]  # packed sums by the start of their time span


class LedgerReports:
    """Reader of sums, of all rows recorded so far. Every method may raise `StoreError`."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._prefix = prefix
        self._fold = LedgerFold(redis, prefix=prefix)

    async def tenants(self, start: int, end: int) -> list[str]:
        """Return the tenants with a row in the 30-day blocks that the range touches."""
        await self._fold.run()
        blocks = range(start // _DAY_S // BLOCK["d"], (end - 1) // _DAY_S // BLOCK["d"] + 1)
        found = await self._trip([("SMEMBERS", f"{self._prefix}lt:{block}") for block in blocks])
        return sorted({name.decode() for names in found for name in names})

    async def read(
        self, tenants: Iterable[str], tiles: Sequence[Tile], by: _By
    ) -> dict[Any, dict[str, int]]:
        """Return the sums by name for each group; `by` maps a cell to its group."""
        gathered = await self._gathered(tenants, tiles, by, None)
        return {group: _named(sums.NAMES, _summed(spans[0])) for group, spans in gathered.items()}

    async def over_time(
        self, tenants: Iterable[str], tiles: Sequence[Tile], by: _By, every_s: int
    ) -> dict[tuple[Any, int], dict[str, int]]:
        """Return the sums by group and by the start of each span of `every_s` seconds."""
        gathered = await self._gathered(tenants, tiles, by, every_s)
        return {
            (group, at): _named(sums.NAMES, _summed(found))
            for group, spans in gathered.items()
            for at, found in spans.items()
        }

    async def _gathered(
        self, tenants: Iterable[str], tiles: Sequence[Tile], by: _By, every_s: int | None
    ) -> Mapping[Any, _Spans]:
        await self._fold.run()
        wanted = [
            (tenant, tile, f"{self._prefix}ls:{tile.grain}:{block}:{tenant}")
            for tenant in tenants
            for tile in tiles
            for block in _blocks(tile)
        ]
        gathered: defaultdict[Any, _Spans] = defaultdict(lambda: defaultdict(list))

        starts = {tile: _starts(tile, every_s) for tile in tiles}

        def gather(place: int, fields: Mapping[bytes, bytes]) -> None:
            tenant, tile, _ = wanted[place]
            _gather(gathered, tenant, starts[tile], fields, by)

        await self._each([key for _, _, key in wanted], gather)
        return gathered

    async def short(
        self, kind: str, tenants: Iterable[str], first_day: int, end_day: int
    ) -> dict[str, dict[str, int]]:
        """Return the short sums of tasks ("lk") or tags ("lg") by name, over all tenants given.

        "" stands for names beyond the most there may be.
        """
        found: dict[str, dict[str, int]] = {}
        for (_, name), numbers in (await self._shorts(kind, tenants, first_day, end_day)).items():
            added = found.setdefault(name.decode(), dict.fromkeys(sums.SHORT, 0))
            for each, number in zip(sums.SHORT, numbers, strict=True):
                added[each] += number
        return found

    async def conversations(
        self, tenants: Iterable[str], first_day: int, end_day: int
    ) -> dict[tuple[str, bytes], list[int]]:
        """Return short sums, in the order of `sums.SHORT`, by tenant and conversation digest.

        b"" stands for conversations beyond the most a tenant may have.
        """
        return await self._shorts("lc", tenants, first_day, end_day)

    async def tasks_by_hour(
        self, tenant: str, first_day: int, end_day: int
    ) -> dict[str, dict[int, dict[str, int]]]:
        """Return short sums by task, then by hour number. "" stands for all further tasks."""
        found: dict[str, dict[int, dict[str, int]]] = {}
        for (_, field), numbers in (await self._shorts("lj", [tenant], first_day, end_day)).items():
            slot, task = field.split(_SEP, 1)
            found.setdefault(task.decode(), {})[int(slot)] = _named(sums.SHORT, numbers)
        return found

    async def _shorts(
        self, kind: str, tenants: Iterable[str], first_day: int, end_day: int
    ) -> dict[tuple[str, bytes], list[int]]:
        """Return short sums by tenant and field. Many are added up in a thread: hits come first."""
        await self._fold.run()
        days, names = range(first_day, end_day), list(tenants)

        def key(tenant: str, day: int) -> str:
            return f"{self._prefix}{kind}:{day}:{tenant}"

        if len(names) > 1:  # most of many tenants have none: EXISTS costs a tenth of a read
            there: list[int] = []
            for start in range(0, len(names), _BATCH_KEYS):
                some = names[start : start + _BATCH_KEYS]
                there += await self._trip(
                    [("EXISTS", *(key(n, day) for day in days)) for n in some]
                )
            names = [one for one, count in zip(names, there, strict=True) if count]
        wanted = [(tenant, day) for tenant in names for day in days]
        found: dict[tuple[str, bytes], list[int]] = {}

        def add(some: Sequence[tuple[str, int]], hashes: Sequence[Mapping[bytes, bytes]]) -> None:
            for (tenant, _), fields in zip(some, hashes, strict=True):
                for field, packed in fields.items():
                    numbers = struct.unpack(f"<{len(packed) // 8}q", packed)
                    sums.add_vector(
                        found.setdefault((tenant, field), [0] * len(sums.SHORT)), numbers
                    )

        for start in range(0, len(wanted), _BATCH_KEYS):
            part = wanted[start : start + _BATCH_KEYS]
            hashes = await self._trip([("HGETALL", key(*one)) for one in part])
            if sum(map(len, hashes)) < _FEW:
                add(part, hashes)
            else:
                await asyncio.to_thread(add, part, hashes)
        return found

    async def _each(
        self, keys: Sequence[str], use: Callable[[int, Mapping[bytes, bytes]], None]
    ) -> None:
        """Call `use` with the position of each key and its hash, in no order.

        Hashes are used while the store prepares others.
        """
        starts = iter(range(0, len(keys), _BATCH_KEYS))

        async def some() -> None:
            for start in starts:
                hashes = await self._trip(
                    [("HGETALL", k) for k in keys[start : start + _BATCH_KEYS]]
                )
                for place, fields in enumerate(hashes, start):
                    use(place, fields)

        await asyncio.gather(*(some() for _ in range(_CONCURRENT)))

    async def _trip(self, commands: Sequence[tuple[str, ...]]) -> list[Any]:
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                return list(await pipe.execute())


def _starts(tile: Tile, every_s: int | None) -> dict[bytes, int]:
    """Return the start of the span of each slot of a tile, by the slot as fields have it."""
    seconds = SECONDS[tile.grain]
    return {
        b"%d" % slot: 0 if every_s is None else slot * seconds // every_s * every_s
        for slot in range(tile.first, tile.end)
    }


def _gather(
    gathered: Mapping[Any, _Spans],
    tenant: str,
    starts: Mapping[bytes, int],
    fields: Mapping[bytes, bytes],
    by: _By,
) -> None:
    """Add the cells of a hash to their groups. `by` is called once for each key and model.

    A report by day runs this for each tenant, day, key and model: most of its time goes here.
    """
    spans_of: dict[bytes, _Spans] = {}
    for field, packed in fields.items():
        slot, _, rest = field.partition(_SEP)
        at = starts.get(slot)
        if at is None:
            continue
        spans = spans_of.get(rest)
        if spans is None:
            key_id, _, model = rest.decode().partition(SEP)
            spans = spans_of[rest] = gathered[by(Cell(tenant, key_id, model))]
        spans[at].append(packed)


def _blocks(tile: Tile) -> range:
    size = BLOCK[tile.grain]
    return range(tile.first // size, (tile.end - 1) // size + 1)


def _summed(packed: Sequence[bytes]) -> list[int]:
    """Add up packed vectors, which may omit trailing zeros."""
    whole = b"".join([one.ljust(_WIDTH, b"\0") for one in packed])
    numbers: list[int] = np.frombuffer(whole, "<i8").reshape(len(packed), -1).sum(0).tolist()
    return numbers


def _named(names: Sequence[str], numbers: Sequence[int]) -> dict[str, int]:
    return dict(zip(names, numbers, strict=True))
