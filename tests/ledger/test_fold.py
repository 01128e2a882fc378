"""Rows that several servers fold at once, some sent twice, count once; none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.core.ledger_row import Row
from cacheserver.ledger import sums
from cacheserver.ledger.export import LedgerExport
from cacheserver.ledger.fold import LedgerFold, recorded_key
from cacheserver.ledger.reports import LedgerReports
from cacheserver.ledger.scripts import FOLD
from cacheserver.ledger.time_range import Tile
from cacheserver.ledger.writer import Ledger
from cacheserver.storage import stored_row
from cacheserver.storage.connection import Connection, command, run_script
from tests.ledger.rows import AT, row, rows

DAY = int(AT // 86_400)


async def write(redis: Connection, prefix: str, *given: Row) -> None:
    """Write rows as a server does that is killed before it folds them."""
    for one in given:
        words = (recorded_key(prefix), one.id, stored_row.encode(one))
        await command(redis, "HSET", *words)


async def counted(redis: Connection, prefix: str, tenants: set[str]) -> dict[str, int]:
    reports = LedgerReports(redis, prefix=prefix)
    found = await reports.read(tenants, [Tile("d", DAY - 2, DAY + 1)], lambda cell: "")
    return {name: number for name, number in found.get("", {}).items() if number}


async def stored(redis: Connection, prefix: str) -> list[Row]:
    export = LedgerExport(redis, prefix=prefix)
    return [one async for _, some in export.minutes(AT - 10**7, AT + 10**6) for one in some]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    groups=st.lists(st.lists(rows, min_size=1, max_size=6), min_size=1, max_size=4),
    folds=st.integers(1, 4),
    again=st.integers(0, 3),
)
async def test_a_row_counts_once_whoever_folds_it_and_however_often_it_is_sent(
    redis: Connection, groups: Sequence[Sequence[Row]], folds: int, again: int
) -> None:
    prefix = f"{id(groups)}{hash(str(groups))}{folds}{again}:"
    servers = [LedgerFold(redis, prefix=prefix) for _ in range(folds)]
    for group in groups:
        await write(redis, prefix, *group)
        # All of them read before the first of them folds.
        await asyncio.gather(
            *(each.run() for each in servers), write(redis, prefix, *group[:again])
        )
    told = {one.id: one for group in groups for one in group}
    wanted: dict[str, int] = {}
    for one in told.values():
        for place, number in sums.row_sums(one):
            wanted[sums.NAMES[place]] = wanted.get(sums.NAMES[place], 0) + number
    found = await counted(redis, prefix, {one.tenant for one in told.values()})
    assert found == {name: number for name, number in wanted.items() if number}
    assert {one.id for one in await stored(redis, prefix)} == set(told)
    assert int(await command(redis, "GET", f"{prefix}lrn")) == len(told)
    assert not await command(redis, "EXISTS", recorded_key(prefix))


@pytest.mark.parametrize("scans", [3, 6, 8, 10])
async def test_a_row_that_a_scan_meets_twice_counts_once(
    redis: Connection, prefix: str, monkeypatch: pytest.MonkeyPatch, scans: int
) -> None:
    """A scan repeats some of a hash that shrinks meanwhile, as others fold what it has."""
    names = [f"dec_{n:024d}" for n in range(4_000)]
    value = stored_row.encode(row())
    words = [word for name in names for word in (name, value)]
    await command(redis, "HSET", recorded_key(prefix), *words)
    run, left, seen = redis.execute_command, 300, 0

    async def interrupted(*words: Any, **options: Any) -> Any:
        nonlocal seen
        reply = await run(*words, **options)
        seen += words[0] == "HSCAN"
        if words[0] == "HSCAN" and seen == scans:
            await run("HDEL", recorded_key(prefix), *names[left:])
            for _ in range(300):  # with each command it shrinks a bit more
                await run("HGET", recorded_key(prefix), names[0])
        return reply

    monkeypatch.setattr(redis, "execute_command", interrupted)
    await LedgerFold(redis, prefix=prefix).run()
    assert int(await command(redis, "GET", f"{prefix}lrn")) == left


async def test_a_row_that_changed_since_it_was_read_is_folded_as_it_is_now(
    redis: Connection, prefix: str
) -> None:
    """An erasure changes it so, between the two steps of a fold."""
    named = row(tags=("secret",))
    bare = row(id=named.id)
    await write(redis, prefix, bare)
    minute = int(named.at // 60)
    left_out = await run_script(
        redis.register_script(FOLD),
        prefix,
        1,
        minute,
        named.id,
        stored_row.encode(named),
        "",
        "",
        0,
    )
    assert left_out == [1]
    assert await stored(redis, prefix) == [bare]


async def test_a_row_of_a_newer_version_stays_for_it_and_stops_no_other(
    redis: Connection, prefix: str
) -> None:
    one = row()
    newer = {"dec_newer": b"[2,0]", "dec_unread": b"\xff", "dec_other": b'[1,"x"]'}
    for id, value in newer.items():
        await command(redis, "HSET", recorded_key(prefix), id, value)
    await write(redis, prefix, one)
    assert await stored(redis, prefix) == [one]
    left = await command(redis, "HGETALL", recorded_key(prefix))
    assert {id.decode(): value for id, value in left.items()} == newer


async def test_an_enormous_cost_of_an_earlier_version_stops_no_other(
    redis: Connection, prefix: str
) -> None:
    one = row()
    await write(redis, prefix, row(cost=10**19), row(cost=-(10**18)), one)
    assert await stored(redis, prefix) == [one]


async def test_rows_are_folded_without_anybody_reading_them(redis: Connection, prefix: str) -> None:
    ledger = Ledger(redis, prefix=prefix)
    await ledger.record(row())
    await ledger.close()
    assert int(await command(redis, "GET", f"{prefix}lrn")) == 1
