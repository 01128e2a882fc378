"""Two books of the same traffic, ours and the simulated Claude's, and what it is to agree."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cacheserver.core.ledger_row import Row
from cacheserver.ledger.export import LedgerExport
from cacheserver.simulated.books import Line
from tests.batches.house import BatchHouse
from tests.house import serving
from tests.ledger.traffic import Losing, Traffic


@dataclass(frozen=True, slots=True)
class Both:
    """`asked` is the text of each request whose usage may never come, by its tag.

    `unread` is how many were not let in, or left before they could be read: they have no row.
    """

    rows: list[Row]
    invoice: list[Line]
    asked: dict[str, str]
    unread: int


async def both(folder: Path, requests: int, **settings: Any) -> Both:
    """Send that many requests through a whole server, and bring both books."""
    line = Losing()
    async with (
        line.url() as upstream,
        BatchHouse.start(
            folder,
            upstream=upstream,
            similarity=None,
            target=0.5,
            audit_usd_per_day=100,
            judge_usd_per_day=100,
            **settings,
        ) as house,
        serving(house.upstream.app) as claude,
    ):
        line.port = int(claude.rpartition(":")[2])
        traffic = Traffic(house, seed=requests)
        await traffic.prepare()
        assert await house.parts.prompt_caching.prewarmer.round() == 1
        await traffic.send(requests)
        await house.parts.service.drain(60)  # a busy machine takes its time
        await house.parts.calibration.learner.idle()
        await house.parts.trials.live.drain()
        await house.parts.ledger.flush()
        rows = await _rows(house)
        unheard = traffic.left - {tag for row in rows for tag in row.tags}
        unread = traffic.refused + len(unheard)
        return Both(rows, list(house.upstream.invoice), traffic.asked, unread)


def agree(both: Both) -> None:
    """Assert that both hold the same, but for what the bounds of doubtful rows account for."""
    rows, invoice, asked = both.rows, both.invoice, both.asked
    lines = {line.message_id: line for line in invoice}
    assert len(lines) == len(invoice)

    # By the call's id, both ways and to the nanodollar: what both know, they know the same of.
    known = {row.call: bill(row) for row in rows if row.call is not None}
    assert len(known) == len([row for row in rows if row.call is not None])  # a call is paid once
    charged = {id: cost for id, cost in known.items() if cost}
    assert charged == {id: lines[id].nanodollars for id in charged.keys() & lines.keys()}
    assert sum(map(bill, rows)) == sum(charged.values())  # no bill without a call
    free = known.keys() - charged.keys()
    assert free  # refusals
    assert not free & lines.keys()

    # The rest of the invoice is what those calls cost whose usage never came.
    rest = [line for line in invoice if line.message_id not in charged]
    total = sum(line.nanodollars for line in invoice)
    assert total - sum(map(bill, rows)) == sum(line.nanodollars for line in rest)
    doubtful = [row for row in rows if row.unknown is not None]
    assert all(row.unknown is not None and row.unknown.most is not None for row in doubtful)
    owed: Counter[str] = Counter()
    for line in rest:
        owed[line.question] += line.nanodollars
    # Each by the text that was asked; what nobody waits for, and items of batches, have no tag.
    for row in doubtful:
        if row.tags:
            least, most = _bounds(row)
            assert least <= owed.pop(_digest(asked[row.tags[0]]), 0) <= most, row
    behind = [_bounds(row) for row in doubtful if not row.tags]
    assert sum(least for least, _ in behind) <= owed.total() <= sum(most for _, most in behind)
    assert len(owed) <= len(behind)


def bill(row: Row) -> int:
    """What a row says was paid for one call: for the answer, or for work behind the answers."""
    return (row.cost or 0) + sum(row.spent.values())


def _bounds(row: Row) -> tuple[int, int]:
    assert row.unknown is not None
    assert row.unknown.most is not None
    return row.unknown.least, row.unknown.most


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


async def _rows(house: BatchHouse) -> list[Row]:
    export = LedgerExport(house.parts.ledger.redis, prefix=house.parts.ledger.prefix)
    now = house.clock()
    return [row async for _, rows in export.minutes(now - 3_600, now + 60) for row in rows]
