"""Export files: whole or refused, and gone on with where they were cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from cacheserver.transfer.export_file import DamagedExport, ExportWriter, read

ABOUT = {"tenant": "shop"}
ITEMS: list[dict[str, Any]] = [{"kind": "entry", "question": f"Q{n} \u2028 é"} for n in range(5)]


def written(path: Path, pages: int = 2) -> Path:
    writer = ExportWriter(path)
    assert not writer.begin(ABOUT)
    for at in range(pages):
        following = f"c{at}" if at < pages - 1 else None
        writer.page(ITEMS[2 * at : 2 * at + 2], following)
        assert writer.cursor == following
    assert writer.complete
    writer.end()
    return path


def items(path: Path) -> list[dict[str, Any]]:
    found = read(path)
    assert found.about == {"cacheserver_export": 1, **ABOUT}
    return [item for _, item in found.items]


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl.zst")
    assert items(path) == ITEMS[:4]
    assert path.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [path]
    data = path.read_bytes()
    lines = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    last = json.loads(lines.read().splitlines()[-1])
    assert (last["kind"], last["records"]) == ("end", 4)
    assert read(path).records == 4
    assert [where for where, _ in read(path).items] == [f"x.jsonl.zst:{n}" for n in (2, 3, 5, 6)]
    with pytest.raises(DamagedExport, match="there already"):
        ExportWriter(path).begin(ABOUT)


@pytest.mark.parametrize("cut", [0, 1, 7, 40])
def test_an_export_that_was_cut_goes_on_after_its_last_whole_page(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.zst"
    partial = tmp_path / "x.zst.partial"
    writer = ExportWriter(path)
    writer.begin(ABOUT)
    writer.page(ITEMS[:2], "c0")
    whole = partial.stat().st_size
    writer.page(ITEMS[2:4], "c1")
    writer.close()
    if cut:
        data = partial.read_bytes()
        partial.write_bytes(data[: len(data) - cut])
    again = ExportWriter(path)
    assert again.begin(ABOUT)
    assert (again.records, again.cursor) == ((4, "c1") if not cut else (2, "c0"))
    assert partial.stat().st_size == whole or not cut
    again.page(ITEMS[again.records :], None)
    again.end()
    assert items(path) == ITEMS


def test_a_part_of_another_tenants_export_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.zst"
    other = ExportWriter(path)
    other.begin({"tenant": "bank"})
    other.page(ITEMS, "c")
    other.close()
    assert items(written(path)) == ITEMS[:4]
    path.unlink()
    path.with_name("x.zst.partial").write_bytes(b"nothing of ours")
    assert items(written(path)) == ITEMS[:4]


def test_a_file_that_is_not_whole_or_was_changed_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.zst")
    data = path.read_bytes()
    text = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    pack = zstandard.ZstdCompressor().compress
    for odd in (
        b"", b"text", data[:-1], data[: len(data) // 2], pack(text.replace(b"Q1", b"Q9")),
        pack(text[: text.rindex(b'{"kind": "end"')]), pack(b"[1]\n"), pack(b"{}\n"),
        pack(text.replace(b'"cacheserver_export": 1', b'"cacheserver_export": 2')),
        pack(b"\n".join(text.splitlines()[:2] + text.splitlines()[3:])),
    ):  # fmt: skip
        path.write_bytes(odd)
        with pytest.raises(DamagedExport):
            read(path)
