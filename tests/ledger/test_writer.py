from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.core.ledger_row import Bounds, Row
from cacheserver.core.types import Usage
from cacheserver.ledger import sums
from cacheserver.ledger.export import LedgerExport
from cacheserver.ledger.reports import LedgerReports
from cacheserver.ledger.time_range import Tile, split_range
from cacheserver.ledger.writer import Ledger
from cacheserver.storage.connection import Connection, command, connect
from tests.ledger.rows import AT, hit, row, rows

DAY = int(AT // 86_400)


@asynccontextmanager
async def opened(redis: Connection, prefix: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(redis, prefix=prefix)
    try:
        yield ledger
    finally:
        await ledger.close()


@pytest.fixture
async def ledger(redis: Connection, prefix: str) -> AsyncIterator[Ledger]:
    async with opened(redis, prefix) as one:
        yield one


async def kept(ledger: Ledger) -> list[Row]:
    export = LedgerExport(ledger.redis, prefix=ledger.prefix)
    return [row async for _, found in export.minutes(AT - 10**7, AT + 10**6) for row in found]


async def summed(ledger: Ledger, grain: str = "d", tenant: str = "acme") -> dict[str, int]:
    reader = LedgerReports(ledger.redis, prefix=ledger.prefix)
    seconds = {"d": 86_400, "h": 3_600, "m": 60}[grain]
    slot = int(AT // seconds)
    tile = Tile(grain, slot - 2 * 86_400 // seconds, slot + 1)  # type: ignore[arg-type]
    return (await reader.read([tenant], [tile], lambda cell: "")).get("", {})


async def test_a_row_is_in_redis_when_record_returns(ledger: Ledger) -> None:
    one = row(key_id="k1", task="support", tags=("a", "b"), conversation="c")
    await ledger.record(one)
    assert await kept(ledger) == [one]
    for grain in "mhd":
        found = await summed(ledger, grain)
        assert (found["requests"], found["miss"], found["cost"]) == (1, 1, 20_000)
        assert (found["calls"], found["input"], found["output"]) == (1, 100, 20)


async def test_a_row_recorded_twice_counts_once(ledger: Ledger) -> None:
    one, two = row(), row()
    await ledger.record(one)
    await asyncio.gather(ledger.record(one), ledger.record(two))
    assert {each.id for each in await kept(ledger)} == {one.id, two.id}
    assert (await summed(ledger))["requests"] == 2
    assert int(await command(ledger.redis, "GET", f"{ledger.prefix}lrn")) == 2


NONSENSE: dict[str, dict[str, Any]] = {
    "half a pair": {"model": "\ud800", "call": "\udfff", "tags": ("\ud800",)},
    "tokens": {"usage": Usage(10**30)},
    "cost": {"cost": 10**30, "saved": {"routing": -(10**20)}},
    "a bound": {"unknown": Bounds(0, 10**40), "cost": None, "call": None},
}


@pytest.mark.parametrize("what", NONSENSE)
async def test_a_row_that_cannot_be_written_as_it_is_stops_no_other(
    ledger: Ledger, what: str
) -> None:
    ledger.append(row(**NONSENSE[what]))
    async with asyncio.timeout(5):
        await ledger.record(row())
        await ledger.flush()
    assert int(await command(ledger.redis, "GET", f"{ledger.prefix}lrn")) == 2


async def test_rows_that_come_during_a_commit_go_together(ledger: Ledger) -> None:
    before = await command(ledger.redis, "INFO", "commandstats")
    await asyncio.gather(*(ledger.record(row()) for _ in range(300)))
    after = await command(ledger.redis, "INFO", "commandstats")
    writes = [stats.get("cmdstat_hset", {"calls": 0})["calls"] for stats in (before, after)]
    assert writes[1] - writes[0] <= 2  # one or two groups
    assert (await summed(ledger))["requests"] == 300


async def test_more_rows_than_one_commit_takes_are_all_written(ledger: Ledger) -> None:
    for _ in range(1_201):
        ledger.append(row())
    await ledger.flush()
    assert len(await kept(ledger)) == (await summed(ledger))["requests"] == 1_201


class Lossy:
    """Stands between us and Redis; while `losing`, commands arrive and their replies do not."""

    def __init__(self, target: str, path: Path) -> None:
        self.losing = False
        self.lost = 0
        self._target = target.removeprefix("unix://")
        self._path = path

    @asynccontextmanager
    async def url(self) -> AsyncIterator[str]:
        server = await asyncio.start_unix_server(self._serve, self._path)
        try:
            yield f"unix://{self._path}"
        finally:
            server.close()  # connections end with their clients, which may come later

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up, down = await asyncio.open_unix_connection(self._target)
        try:
            while sent := await reader.read(2**20):
                down.write(sent)
                reply = await up.read(2**20)
                if self.losing and b"HSET" in sent:
                    self.lost += 1
                    break
                writer.write(reply)
        finally:
            for each in (down, writer):
                each.close()


async def test_a_commit_whose_reply_was_lost_counts_once(
    url: str, redis: Connection, prefix: str, tmp_path: Path
) -> None:
    between = Lossy(url, tmp_path / "lossy.sock")
    async with between.url() as way, opened(redis, prefix) as direct:
        client = connect(way)
        async with opened(client, prefix) as ledger:
            await ledger.record(row())
            between.losing = True
            await asyncio.wait_for(ledger.record(row()), 10)  # it is written, and not known to be
            assert between.lost
            assert ledger.failures
            between.losing = False
            await ledger.record(row())
            while len(await kept(direct)) < 3:
                await ledger.flush()
            await ledger.flush()
        assert (await summed(direct))["requests"] == 3
        await client.aclose()


async def test_nobody_waits_while_redis_is_away_and_what_is_given_up_is_counted(
    tmp_path: Path,
) -> None:
    client = connect(f"unix://{tmp_path}/nowhere.sock")
    ledger = Ledger(client, limit=10)
    async with asyncio.timeout(30):
        for _ in range(25):
            await ledger.record(row())
    assert ledger.failures >= 1
    await ledger.close(patience_s=0)
    assert ledger.overflowed == 25
    await client.aclose()


async def test_rows_kept_back_are_written_once_redis_is_there_again(
    url: str, redis: Connection, prefix: str, tmp_path: Path
) -> None:
    between = Lossy(url, tmp_path / "late.sock")
    client = connect(f"unix://{tmp_path}/late.sock")
    async with opened(client, prefix) as ledger, opened(redis, prefix) as direct:
        await ledger.record(row())
        await ledger.record(row())
        assert await kept(direct) == []
        async with between.url():
            while len(await kept(direct)) < 2:
                await ledger.record(row())
        await client.aclose()


async def test_a_caller_who_leaves_takes_no_row_along(ledger: Ledger) -> None:
    one, two = row(), row()
    leaving = asyncio.create_task(ledger.record(one))
    staying = asyncio.create_task(ledger.record(two))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert {each.id for each in await kept(ledger)} == {one.id, two.id}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(rows, min_size=1, max_size=8), max_size=4))
async def test_sums_are_the_sums_of_the_rows(
    redis: Connection, batches: Sequence[Sequence[Row]]
) -> None:
    prefix = f"{id(batches)}{len(batches)}{hash(str(batches))}:"
    async with opened(redis, prefix) as ledger:
        for batch in batches:
            await asyncio.gather(*(ledger.record(each) for each in batch))
        told = {each.id: each for batch in batches for each in batch}
        assert len(await kept(ledger)) == len(told)
        for tenant in {each.tenant for each in told.values()}:
            wanted: Counter[str] = Counter()
            for each in told.values():
                if each.tenant == tenant:
                    for place, number in sums.row_sums(each):
                        wanted[sums.NAMES[place]] += number
            for grain in "mhd":
                found = await summed(ledger, grain, tenant)
                assert {k: v for k, v in found.items() if v} == {
                    k: v for k, v in wanted.items() if v
                }


async def test_a_range_reads_each_minute_once(ledger: Ledger) -> None:
    base = int(AT // 86_400) * 86_400
    moments = [base - 86_400 * 2 + 1_740 * n for n in range(150)]  # three days, every 29 minutes
    for at in moments:
        ledger.append(hit(at=float(at)))
    await ledger.flush()
    reader = LedgerReports(ledger.redis, prefix=ledger.prefix)
    for start, end in [(0, 150), (3, 90), (17, 18), (50, 149), (1, 60)]:
        span = moments[start] // 60 * 60, moments[end - 1] // 60 * 60 + 60
        found = await reader.read(["acme"], list(split_range(*span)), lambda cell: "")
        assert found[""]["requests"] == end - start


async def test_too_many_models_are_one(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "cacheserver.ledger.fold._MOST", {"ls": 3, "lk": 2, "lj": 2, "lg": 2, "lc": 2}
    )
    for n in range(6):
        await ledger.record(row(at=AT + n, model=f"m{n}", tags=(f"t{n}",)))
    reader = LedgerReports(ledger.redis, prefix=ledger.prefix)
    by_model = await reader.read(["acme"], [Tile("d", DAY, DAY + 1)], lambda cell: cell.model)
    assert {model: found["requests"] for model, found in by_model.items()} == {
        "m0": 1,
        "m1": 1,
        "m2": 1,
        "": 3,
    }
    tags = await reader.short("lg", ["acme"], DAY, DAY + 1)
    assert {tag: found["requests"] for tag, found in tags.items()} == {"t0": 1, "t1": 1, "": 4}


async def test_what_is_kept_for_a_time_has_it_from_its_first_write(ledger: Ledger) -> None:
    await ledger.record(row(task="t", tags=("g",), conversation="c"))
    await ledger.flush()
    keys = [key.decode() for key in await command(ledger.redis, "KEYS", f"{ledger.prefix}*")]
    for key in keys:
        # Rows, which go to files, their counts; statistics.
        lasting = key.removeprefix(ledger.prefix).startswith(("lr", "stats"))
        assert (await command(ledger.redis, "TTL", key) > 0) != lasting, key


_KILLED = """
import asyncio, sys
from cacheserver.storage.connection import connect
from cacheserver.ledger.writer import Ledger
from tests.ledger.rows import row

async def main():
    ledger = Ledger(connect(sys.argv[1]), prefix=sys.argv[2])
    async def one(n):
        made = row(id=f"dec_{n}")
        await ledger.record(made)
        print(made.id, flush=True)
    for start in range(0, 100_000, 40):
        await asyncio.gather(*(one(n) for n in range(start, start + 40)))

asyncio.run(main())
"""


async def test_what_was_told_to_be_recorded_survives_kill_9(
    url: str, redis: Connection, prefix: str
) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _KILLED, url, prefix, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    told = [await child.stdout.readline() for _ in range(500)]
    child.kill()
    told += [line async for line in child.stdout if line.endswith(b"\n")]
    await child.wait()
    async with opened(redis, prefix) as ledger:
        found = {each.id for each in await kept(ledger)}
        assert found >= {line.decode().strip() for line in told}
        assert (await summed(ledger))["requests"] == len(found)  # rows and sums, or neither
