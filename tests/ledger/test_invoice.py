"""The simulated Claude keeps its own books, with a price table that shares nothing with ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from cacheserver.policy.row import Row
from cacheserver.stores.ledgerexport import LedgerExport
from tests.house import House
from tests.ledger.traffic import KINDS, Traffic


@pytest.mark.parametrize("requests", [1_500, pytest.param(20_000, marks=pytest.mark.slow)])
async def test_the_ledger_and_claudes_own_invoice_agree(tmp_path: Path, requests: int) -> None:
    async with House.open(tmp_path) as house:
        await Traffic(house, seed=requests).send(requests)
        await house.parts.service.drain(5)
        await house.parts.ledger.flush()
        rows = await rows_of(house)
        lines = {line.message_id: line.nanodollars for line in house.upstream.invoice}
        assert len(lines) == len(house.upstream.invoice)

    assert len(rows) == requests
    known = [row for row in rows if row.call is not None]
    priced = {row.call: row.cost for row in known if row.cost}
    assert priced.items() <= lines.items()  # every bill we know of, to the nanodollar
    free = {row.call for row in known if row.cost == 0}
    assert free  # refusals
    assert not free & lines.keys()

    # What is on the invoice and not in our books is what calls cost whose usage never came.
    rest = {id: cost for id, cost in lines.items() if id not in priced}
    doubtful = [row.unknown for row in rows if row.unknown is not None]
    assert rest
    assert len(rest) >= len([row for row in rows if row.outcome == "failed" and row.unknown])
    assert sum(lines.values()) - sum(priced.values()) == sum(rest.values())
    least = sum(bounds.least for bounds in doubtful)
    most = sum(bounds.most for bounds in doubtful if bounds.most is not None)
    assert all(bounds.most is not None for bounds in doubtful)
    assert least <= sum(rest.values()) <= most


async def rows_of(house: House) -> list[Row]:
    export = LedgerExport(house.parts.ledger.redis, prefix=house.parts.ledger.prefix)
    now = house.clock()
    return [row async for _, rows in export.minutes(now - 3_600, now + 60) for row in rows]


def test_the_traffic_is_mixed() -> None:
    assert len(KINDS) > 10
