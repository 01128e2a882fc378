"""Rows beyond their bounds go to files, and an export has each of them once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given

from cacheserver.core.ledger_row import CAUSES, SPENDS, Row
from cacheserver.core.types import Usage
from cacheserver.ledger import files, row_codec, sums
from cacheserver.ledger.export import LedgerExport, encode_pages
from cacheserver.ledger.retention import LedgerRetention
from cacheserver.ledger.writer import Ledger
from cacheserver.peers.work_lease import WorkLease
from cacheserver.storage import stored_row
from cacheserver.storage.connection import Connection, command
from tests.ledger.rows import AT, row, rows

DAY = 86_400


async def recorded(redis: Connection, prefix: str, made: Sequence[Row]) -> None:
    ledger = Ledger(redis, prefix=prefix)
    for each in made:
        ledger.append(each)
    await ledger.flush()
    await ledger.close()


async def exported(redis: Connection, prefix: str, folder: Path, **range: float) -> list[str]:
    export = LedgerExport(redis, prefix=prefix, folder=folder)
    start, end = range.get("start", AT - 100 * DAY), range.get("end", AT + DAY)
    return [each["id"] async for page in export.rows(start, end) for each in page]


async def rows_in(redis: Connection, prefix: str) -> int:
    return int(await redis.get(f"{prefix}lrn") or 0)


async def test_rows_past_their_days_are_spilled_and_still_exported(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    made = [row(at=AT - 40 * DAY + n * DAY / 2) for n in range(80)]
    await recorded(redis, prefix, made)
    keeper = LedgerRetention(redis, prefix=prefix, folder=tmp_path)
    assert await keeper.enforce(AT) == 20
    assert await rows_in(redis, prefix) == 60
    assert await keeper.enforce(AT) == 0
    assert await exported(redis, prefix, tmp_path) == [each.id for each in made]
    some = await exported(redis, prefix, tmp_path, start=made[10].at, end=made[30].at)
    assert some == [each.id for each in made[10:30]]


async def test_beyond_the_most_bytes_the_oldest_go(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    made = [row(at=AT + n * 60) for n in range(50)]
    await recorded(redis, prefix, made)
    keeper = LedgerRetention(redis, prefix=prefix, folder=tmp_path)
    size = await keeper.size()
    assert await keeper.enforce(AT + 3_600) == 0
    keeper = LedgerRetention(redis, prefix=prefix, folder=tmp_path, max_bytes=size)
    assert await keeper.enforce(AT + 3_600) == 0
    most = size * 6 // 10
    keeper = LedgerRetention(redis, prefix=prefix, folder=tmp_path, max_bytes=most)
    gone = await keeper.enforce(AT + 3_600)
    assert most * 0.85 < await keeper.size() <= most * 0.9  # some room for what comes next
    assert await rows_in(redis, prefix) == 50 - gone
    assert await exported(redis, prefix, tmp_path) == [each.id for each in made]


async def test_what_was_written_and_not_forgotten_is_exported_and_written_once(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    made = [row(at=AT - 31 * DAY + n) for n in range(200)]
    await recorded(redis, prefix, made)
    await LedgerRetention(redis, prefix=prefix, folder=tmp_path).enforce(AT)
    await recorded(redis, prefix, made)  # as a server killed before it could forget leaves them
    ids = [each.id for each in made]
    assert sorted(await exported(redis, prefix, tmp_path)) == sorted(ids)
    await LedgerRetention(redis, prefix=prefix, folder=tmp_path).enforce(AT)
    assert sorted(await exported(redis, prefix, tmp_path)) == sorted(ids)


async def test_rows_that_no_file_takes_stay_and_have_no_life_of_their_own(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    made = [row(at=AT - 31 * DAY), row(at=AT)]
    await recorded(redis, prefix, made)
    minute = f"{prefix}lr:{int(made[0].at // 60)}"
    assert await command(redis, "TTL", minute) == -1
    await command(redis, "EXPIRE", minute, 86_400)  # as an earlier version left it
    (tmp_path / "file").write_text("no folder can be made here")
    keeper = LedgerRetention(redis, prefix=prefix, folder=tmp_path / "file" / "ledger", max_bytes=1)
    with pytest.raises(OSError, match="directory"):
        await keeper.enforce(AT)
    assert keeper.failing
    assert await command(redis, "TTL", minute) == -1
    assert await rows_in(redis, prefix) == 2
    keeper = LedgerRetention(redis, prefix=prefix, folder=tmp_path / "ledger", max_bytes=1)
    assert await keeper.enforce(AT) == 2
    assert not keeper.failing
    assert await exported(redis, prefix, tmp_path / "ledger") == [each.id for each in made]


async def test_sizes_are_counted_with_each_row_and_each_spill(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    """What is counted is what the rows have; none is left when they have gone."""
    keeper = LedgerRetention(redis, prefix=prefix, folder=tmp_path)
    made = [row(at=AT - 40 * DAY + n * 20) for n in range(600)]
    for start in range(0, 600, 60):
        await recorded(redis, prefix, [*made[start : start + 60], *made[:start:7]])  # some again
    sizes = [
        len(id) + len(kept) + 60
        for minute in await command(redis, "ZRANGE", f"{prefix}lr", 0, -1)
        for id, kept in ((await command(redis, "HGETALL", f"{prefix}lr:{minute.decode()}")).items())
    ]
    assert len(sizes) == 600
    assert await keeper.size() == sum(sizes)
    assert await keeper.enforce(AT) == 600
    assert await keeper.size() == 0
    assert await command(redis, "EXISTS", f"{prefix}lrz", f"{prefix}lr") == 0


async def test_rows_that_an_earlier_version_did_not_count_are_spilled_too(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    made = [row(at=AT - n * 60) for n in range(100)]
    await recorded(redis, prefix, made)
    await command(redis, "DEL", f"{prefix}lrz", f"{prefix}lrb")
    late = row(at=AT + 60)
    await recorded(redis, prefix, [late])
    keeper = LedgerRetention(redis, prefix=prefix, folder=tmp_path, max_bytes=12_500)
    assert (
        25_000 < await keeper.size() < 25_500
    )  # a hundred of 250 bytes, and the one that is known
    assert 50 < await keeper.enforce(AT + 120) < 60
    assert await exported(redis, prefix, tmp_path) == [each.id for each in (*made[::-1], late)]


async def test_one_server_at_a_time_spills(redis: Connection, prefix: str, tmp_path: Path) -> None:
    await recorded(redis, prefix, [row(at=AT - 31 * DAY)])
    one, two = (WorkLease(redis, "ledger", server=name, prefix=prefix) for name in ("one", "two"))
    keeper = LedgerRetention(redis, prefix=prefix, folder=tmp_path, lease=two)
    assert await one.take()
    assert not await two.take()
    assert await keeper.enforce(AT) == 0
    await one.give_back()
    assert await two.take()
    assert await keeper.enforce(AT) == 1


async def test_a_server_that_was_held_up_deletes_no_rows(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    await recorded(redis, prefix, [row(at=AT - 31 * DAY)])
    late = WorkLease(redis, "ledger", server="late", prefix=prefix)
    keeper = LedgerRetention(redis, prefix=prefix, folder=tmp_path, lease=late)
    assert await late.take()
    await command(redis, "SET", f"{prefix}work:ledger", "another", "PX", 60_000)
    assert late.held  # it knows nothing of the other yet
    assert await keeper.enforce(AT) == 0
    assert await rows_in(redis, prefix) == 1


async def test_files_end_after_their_time(redis: Connection, prefix: str, tmp_path: Path) -> None:
    await recorded(redis, prefix, [row(at=AT - 31 * DAY)])
    keeper = LedgerRetention(redis, prefix=prefix, folder=tmp_path, file_days=90)
    await keeper.enforce(AT)
    (tmp_path / "part-abc").write_bytes(b"of a server that was killed")
    assert len(files.list_files(tmp_path)) == 1
    await keeper.enforce(AT + 58 * DAY)
    assert len(files.list_files(tmp_path)) == 1
    await keeper.enforce(AT + 60 * DAY)
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240


@given(rows)
def test_a_row_comes_back_as_it_was_kept(one: Row) -> None:
    found = stored_row.decode(one.id, stored_row.encode(one))
    assert found is not None
    assert found.at == round(one.at, 6)
    assert (found.saved, found.spent) == (dict(one.saved), dict(one.spent))
    for name in ("usage", "cost", "tags", "unknown", "batched", "stream", "tenant", "conversation"):
        assert getattr(found, name) == getattr(one, name)


def test_a_row_of_another_layout_is_no_row() -> None:
    assert stored_row.decode("x", b"[2,1]") is None
    assert stored_row.decode("x", b"{}") is None


def test_every_field_of_a_row_is_stored_and_a_later_field_is_skipped() -> None:
    stored = {*stored_row.STORED, *stored_row._FLAGS, "id"} - {"flags"}
    assert stored == {field.name for field in fields(Row)}
    one = row()
    later = orjson.dumps([*orjson.loads(stored_row.encode(one)), "a later field"])
    assert stored_row.decode(one.id, later) == one


async def test_a_callers_words_are_no_formula_in_a_spreadsheet() -> None:
    async def pages() -> Any:
        yield [row_codec.flat(row(task="=1+1", conversation="@x"))]

    sheet = b"".join([chunk async for chunk in encode_pages(pages(), "csv")]).decode()
    assert ",'=1+1," in sheet
    assert ",'@x," in sheet


def test_what_callers_left_is_told_apart_from_what_failed() -> None:
    def counted(**given: Any) -> tuple[int, int]:
        found = {sums.NAMES[place]: number for place, number in sums.row_sums(row(**given))}
        return found.get("failed", 0), found.get("gone", 0)

    assert counted(outcome="failed", status=499) == (1, 1)
    assert counted(outcome="failed", status=529) == (1, 0)
    assert counted(outcome="miss", status=200) == (0, 0)


def test_unsupported_questions_are_counted_among_misses() -> None:
    def counted(**given: Any) -> int:
        found = {sums.NAMES[place]: number for place, number in sums.row_sums(row(**given))}
        return found.get("unsupported", 0)

    assert counted(reason="unsupported") == 1
    assert counted(reason="improbable") == 0
    assert counted(outcome="failed", reason="unsupported") == 0
    assert counted(outcome="background", reason="unsupported") == 0


# The sums of the server of 28 November 2026, in the order in which its store has them.
STORED_SUMS = (
    "requests exact semantic coalesced stale miss bypass failed background exact_saved calls "
    "cost input output eligible cache_read cache_write_5m cache_write_1h web_searches batched "
    "unpriced unknown unknown_least unknown_most unbounded semantic_saved coalesced_saved "
    "stale_saved routing_saved compaction_saved output-cap_saved prompt-caching_saved "
    "batch_saved audit_spent judge_spent classifier_spent prewarm_spent summary_spent "
    "trial_spent retry_spent gone unsupported"
)


def test_a_sum_has_the_place_that_stored_sums_have() -> None:
    assert " ".join(sums.NAMES).startswith(f"{STORED_SUMS} ")
    assert set(sums.NAMES) >= {
        *(f"{cause}_saved" for cause in CAUSES),
        *(f"{spend}_spent" for spend in SPENDS),
    }


def test_tokens_of_a_call_in_steps_are_those_on_the_bill() -> None:
    """The counts beside the steps leave some out: a compaction, an adviser (facts 1.3)."""
    steps = (("claude-opus-5-5", Usage(10, 1, 2, 3, 4)), ("claude-haiku-5-5", Usage(100, 10)))
    one = row(usage=Usage(10, 1, 2, 3, 4, web_searches=5, iterations=steps))
    counted = {sums.NAMES[place]: number for place, number in sums.row_sums(one)}
    assert (counted["input"], counted["output"], counted["web_searches"]) == (110, 11, 5)
    flat = row_codec.flat(one)
    assert [flat[name] for name in row_codec.TOKENS] == [110, 11, 2, 3, 4, 5]
    decoded = stored_row.decode(one.id, stored_row.encode(one))
    assert decoded is not None
    assert decoded.usage == one.usage


@given(rows)
def test_an_exported_row_says_what_the_sums_say(one: Row) -> None:
    flat = row_codec.flat(one)
    assert list(flat) == [column.name for column in row_codec.COLUMNS]
    assert flat["saved_nanodollars"] == sum(one.saved.values())
    assert (
        sum(v for k, v in flat.items() if k.startswith("spent_") and k != "spent_nanodollars")
        == (flat["spent_nanodollars"])
    )
    if one.cost is not None:
        assert flat["counterfactual_nanodollars"] == one.cost + flat["saved_nanodollars"]
