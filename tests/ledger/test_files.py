"""Files of rows: whole or not there, readable with other tools, told where they are damaged."""

from __future__ import annotations

import shutil
import subprocess
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.ledger_row import Row
from cacheserver.ledger import files, parquet, row_codec
from cacheserver.ledger.export import LedgerExport
from cacheserver.ledger.files import RowFile, RowFileWriter
from cacheserver.storage.connection import Connection
from tests.ledger.rows import AT, row, rows

EVER = (0.0, 2e10)


def made(folder: Path, some: list[dict[str, Any]]) -> RowFile:
    writer = RowFileWriter(folder, 1, 2)
    writer.write(some)
    writer.close()
    (file,) = files.list_files(folder)
    return file


def lines(count: int) -> list[dict[str, Any]]:
    return [row_codec.flat(row(at=AT + n, tags=(f"t{n % 7}",))) for n in range(count)]


@given(st.lists(rows, max_size=20, unique_by=lambda each: each.id))
def test_rows_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, some: list[Row]
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    flat = [row_codec.flat(each) for each in some]
    damaged: list[str] = []
    file = made(folder, flat)
    assert list(files.read_rows(file, *EVER, None, damaged.append)) == flat
    assert files.row_ids(file, damaged.append) == {each.id for each in some}
    assert damaged == []


def test_a_range_and_a_tenant_are_picked_out(tmp_path: Path) -> None:
    some = [row_codec.flat(row(at=AT + n, tenant="ab"[n % 2])) for n in range(10)]
    found = files.read_rows(made(tmp_path, some), AT + 2, AT + 6, "b", pytest.fail)
    assert [each["at"] for each in found] == [datetime.fromtimestamp(AT + n, UTC) for n in (3, 5)]


def test_zstd_reads_it(tmp_path: Path) -> None:
    zstd = shutil.which("zstd")
    if zstd is None:
        pytest.skip("no zstd on this machine")
    some = lines(6_000)  # two frames
    file = made(tmp_path, some)
    text = subprocess.run([zstd, "-dc", file.path], check=True, capture_output=True).stdout
    assert [orjson.loads(line)["id"] for line in text.splitlines()] == [e["id"] for e in some]


def test_until_it_is_closed_there_is_no_file(tmp_path: Path) -> None:
    writer = RowFileWriter(tmp_path, 1, 2)
    writer.write(lines(20_000))
    assert files.list_files(tmp_path) == []
    assert not list(tmp_path.glob("rows-*"))  # which a backup would take
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [0.3, 0.6, 0.95, 0.99999])
def test_of_a_file_that_was_cut_the_rows_before_are_read(tmp_path: Path, left: float) -> None:
    some = lines(25_000)  # five frames
    file = made(tmp_path, some)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[: int(len(whole) * left)])
    damaged: list[str] = []
    found = list(files.read_rows(file, *EVER, None, damaged.append))
    assert damaged == ["ledger-file"]
    assert found == some[: len(found)]
    assert len(found) >= (left - 0.2) * 25_000  # all but the frame that was cut


def test_wherever_a_file_is_cut_it_is_noticed(tmp_path: Path) -> None:
    some = lines(12)
    file = made(tmp_path, some)
    whole = file.path.read_bytes()
    for at in range(len(whole)):
        file.path.write_bytes(whole[:at])
        damaged: list[str] = []
        found = list(files.read_rows(file, *EVER, None, damaged.append))
        assert damaged
        assert found == some[: len(found)]


def test_duckdb_reads_it(tmp_path: Path) -> None:
    some = lines(6_000)  # two frames
    file = made(tmp_path, some)
    with duckdb.connect() as db:
        found = db.execute(
            f"SELECT count(*), sum(cost_nanodollars) "
            f"FROM read_json_auto('{file.path}', format = 'newline_delimited')"
        ).fetchall()
    assert found[0][:2] == (6_000, sum(each["cost_nanodollars"] for each in some))


def test_damage_is_noticed_and_what_comes_before_is_read(tmp_path: Path) -> None:
    some = lines(15_000)
    file = made(tmp_path, some)
    text = bytearray(file.path.read_bytes())
    middle = len(text) // 2  # in the second of three frames
    # One bit may be padding, which zstd does not use: the rows have ids of their own each time.
    text[middle : middle + 64] = bytes(byte ^ 0xFF for byte in text[middle : middle + 64])
    file.path.write_bytes(text)
    damaged: list[str] = []
    found = list(files.read_rows(file, *EVER, None, damaged.append))
    assert damaged == ["ledger-file"]
    assert found == some[: len(found)]
    assert len(found) in (5_000, 10_000)  # whole frames


def test_whatever_byte_is_damaged_no_wrong_row_is_read(tmp_path: Path) -> None:
    some = lines(30)
    file = made(tmp_path, some)
    whole = file.path.read_bytes()
    for at in range(0, len(whole), 7):
        text = bytearray(whole)
        text[at] ^= 1 << at % 8
        file.path.write_bytes(text)
        damaged: list[str] = []
        found = list(files.read_rows(file, *EVER, None, damaged.append))
        assert found == some[: len(found)]
        assert damaged or len(found) == 30


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    tracemalloc.start()
    peaks = []
    for hundreds in (60, 150):  # of rows; the shorter is more than a frame already
        writer = RowFileWriter(tmp_path / str(hundreds), 1, 2)
        for _ in range(hundreds):
            writer.write(lines(100))
        writer.close()
        (file,) = files.list_files(tmp_path / str(hundreds))
        count = sum(1 for _ in files.read_rows(file, *EVER, None, pytest.fail))
        assert count == hundreds * 100
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()
    tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


async def test_parquet_files_of_an_earlier_version_are_exported_where_pyarrow_is(
    redis: Connection, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = lines(10)
    old = parquet.Writer(tmp_path / "rows-1-2-0123abcd.parquet")
    old.write(some[:5])
    old.close()
    writer = RowFileWriter(tmp_path, 3, 4)
    writer.write(some[5:])
    writer.close()
    export = LedgerExport(redis, prefix=prefix, folder=tmp_path)
    found = [each async for page in export.rows(*EVER) for each in page]
    assert [each["id"] for each in found] == [each["id"] for each in some]
    assert found == some
    assert not await export.needs_parquet(*EVER)
    monkeypatch.setattr(parquet, "find_spec", lambda name: None)
    assert await export.needs_parquet(*EVER)
    assert not await export.needs_parquet(180.0, 2e10)


@pytest.mark.parametrize("suffix", [".jsonl.zst", ".parquet"])
def test_a_file_is_replaced_in_one_step(tmp_path: Path, suffix: str) -> None:
    """Killed at any moment, no row is told twice: it is money."""
    some = lines(4)
    old = tmp_path / f"rows-1-2-0123abcd{suffix}"
    if suffix == ".parquet":
        first = parquet.Writer(old)
        first.write(some)
        first.close()
    else:
        made(tmp_path, some).path.rename(old)
    before = old.read_bytes()
    writer = RowFileWriter(tmp_path, 1, 2, replaces=old)
    writer.write(some)
    assert [file.path for file in files.list_files(tmp_path)] == [old]
    writer.close()
    new = tmp_path / "rows-1-2-0123abcd.jsonl.zst"
    assert [path.name for path in tmp_path.iterdir()] == [new.name]
    if suffix == ".parquet":
        old.write_bytes(before)  # as though killed before it was removed
    assert [file.path for file in files.list_files(tmp_path)] == [new]
