"""Damaged files of a real store: what is mended at the start, and what is refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from cacheserver.core.errors import SettingsError
from cacheserver.embedded.process import find_server
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.storage.connection import Connection, command, connect

MANIFEST = "appendonly.aof.manifest"


async def fill(data: Path) -> Path:
    """Make a store with a base (`b0` to `b9`) and a file behind it; the folder of its files."""
    async with EmbeddedStore(data) as url:
        client = connect(url)
        for n in range(10):
            await command(client, "SET", f"b{n}", "in the base")
        await command(client, "BGREWRITEAOF")
        while (await command(client, "INFO"))["aof_rewrite_in_progress"]:
            pass
        for n in range(10):
            await command(client, "SET", f"i{n}", "x" * 50)
        await command(client, "EVAL", "redis.call('SET','t1','1') redis.call('SET','t2','1')", 0)
        await client.aclose()
    folder = data / "store" / "appendonlydir"
    assert sorted(path.name for path in folder.iterdir()) == [
        "appendonly.aof.2.base.rdb",
        "appendonly.aof.2.incr.aof",
        MANIFEST,
    ]
    return folder


async def keys(client: Connection) -> set[str]:
    return {key.decode() for key in await command(client, "KEYS", "*")}


async def started(data: Path) -> tuple[set[str], list[str]]:
    """What a store on `data` holds, and what it mended."""
    store = EmbeddedStore(data)
    client = connect(await store.start())
    found = await keys(client)
    await client.aclose()
    await store.stop()
    return found, store.repairs


def aside(folder: Path, name: str) -> bytes:
    (path,) = folder.glob(f"{name}.damaged-*")
    return path.read_bytes()


BASE = {f"b{n}" for n in range(10)}
ALL = BASE | {f"i{n}" for n in range(10)} | {"t1", "t2"}


def unknown_sync(folder: Path) -> None:
    """Forget what was synced: a power cut came before it was noted."""
    (folder.parent / "synced").unlink()


@pytest.mark.parametrize(
    ("name", "tail"),
    [
        ("zeros", b"\0" * 4096),
        ("garbage", bytes(range(256)) * 3),
        ("a cut command", b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100\r\nhalf"),
        (
            "a cut transaction",
            b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n*1\r\n$4\r\nEX",
        ),
        ("zeros and what was written behind them", b"\0" * 512 + b"*1\r\n$4\r\nPING\r\n"),
    ],
)
async def test_what_a_power_cut_leaves_at_the_end_is_cut_off_and_kept(
    tmp_path: Path, name: str, tail: bytes
) -> None:
    folder = await fill(tmp_path)
    path = folder / "appendonly.aof.2.incr.aof"
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    found, (repair,) = await started(tmp_path)
    assert found == ALL
    assert path.read_bytes().startswith(whole)
    assert aside(folder, path.name) == tail
    assert f"byte {len(whole)}" in repair
    assert f"last {len(tail)} bytes" in repair
    assert str(path) in repair
    assert await started(tmp_path) == (ALL, [])


async def test_without_a_note_a_tail_that_no_command_follows_is_cut_too(tmp_path: Path) -> None:
    folder = await fill(tmp_path)
    unknown_sync(folder)
    with (folder / "appendonly.aof.2.incr.aof").open("ab") as file:
        file.write(b"\0" * 4096)
    found, repairs = await started(tmp_path)
    assert found == ALL
    assert len(repairs) == 1


async def damage_middle(folder: Path) -> int:
    path = folder / "appendonly.aof.2.incr.aof"
    data = bytearray(path.read_bytes())
    at = data.index(b"i5")
    data[at - 10 : at + 20] = b"\0" * 30
    path.write_bytes(data)
    return data.rindex(b"*3\r\n", 0, at - 10)


@pytest.mark.parametrize("noted", [True, False])
async def test_damage_in_the_middle_is_refused_and_cut_when_asked_to(
    tmp_path: Path, noted: bool
) -> None:
    folder = await fill(tmp_path)
    if not noted:
        unknown_sync(folder)
    good = await damage_middle(folder)
    path = folder / "appendonly.aof.2.incr.aof"
    before = path.read_bytes()
    refused = EmbeddedStore(tmp_path)
    with pytest.raises(SettingsError) as caught:
        await refused.start()
    for part in (str(path), f"byte {good}", "restore FILE --replace", "cacheserver repair"):
        assert part in str(caught.value)
    assert path.read_bytes() == before
    (repair,) = await EmbeddedStore(tmp_path).repair()
    assert str(path) in repair
    assert aside(folder, path.name) == before[good:]
    assert await started(tmp_path) == (BASE | {f"i{n}" for n in range(5)}, [])


async def test_a_text_that_reads_like_commands_is_never_run(tmp_path: Path) -> None:
    folder = await fill(tmp_path)
    path = folder / "appendonly.aof.2.incr.aof"
    text = b"*3\r\n$3\r\nSET\r\n$4\r\nevil\r\n$1\r\n1\r\n"
    path.write_bytes(path.read_bytes() + b"*3\r\n$3\r\nSE\0\r\n$1\r\na\r\n$31\r\n" + text + b"\r\n")
    found, _ = await started(tmp_path)
    assert found == ALL


async def test_a_file_that_the_manifest_names_and_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = await fill(tmp_path)
    path = folder / "appendonly.aof.2.incr.aof"
    path.unlink()
    with pytest.raises(SettingsError, match=r"2\.incr\.aof is missing"):
        await EmbeddedStore(tmp_path).start()
    assert len(await EmbeddedStore(tmp_path).repair()) == 1
    assert (await started(tmp_path))[0] == BASE


@pytest.mark.parametrize("damage", [b"", b"\0" * 88, b"nonsense\n", None])
async def test_a_damaged_manifest_is_made_anew(tmp_path: Path, damage: bytes | None) -> None:
    folder = await fill(tmp_path)
    if damage is None:
        (folder / MANIFEST).unlink()  # the server itself would begin an empty store
    else:
        (folder / MANIFEST).write_bytes(damage)
    found, (repair,) = await started(tmp_path)
    assert found == ALL
    assert MANIFEST in repair
    if damage is not None:
        assert aside(folder, MANIFEST) == damage


async def test_a_manifest_that_the_files_do_not_tell_is_refused(tmp_path: Path) -> None:
    folder = await fill(tmp_path)
    (folder / MANIFEST).unlink()
    (folder / "appendonly.aof.1.incr.aof").write_bytes(b"*1\r\n$4\r\nPING\r\n")
    with pytest.raises(SettingsError, match=r"1\.incr\.aof.*are ambiguous"):
        await EmbeddedStore(tmp_path).start()
    assert not (folder / MANIFEST).exists()
    assert len(await EmbeddedStore(tmp_path).repair()) == 1
    assert (await started(tmp_path))[0] == ALL


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize(
    "harm", [flip, lambda path: os.truncate(path, path.stat().st_size // 2), Path.unlink]
)
async def test_a_damaged_base_is_refused_by_name(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    path = await fill(tmp_path) / "appendonly.aof.2.base.rdb"
    harm(path)
    with pytest.raises(SettingsError) as caught:
        await EmbeddedStore(tmp_path).start()
    assert str(path) in str(caught.value)
    assert "restore FILE --replace" in str(caught.value)
    assert "valkey-check-aof" not in str(caught.value)


async def test_what_is_noted_as_synced_is_on_the_disk(tmp_path: Path) -> None:
    folder = await fill(tmp_path)
    noted = orjson.loads((folder.parent / "synced").read_bytes())
    path = folder / "appendonly.aof.2.incr.aof"
    assert noted == {path.name: path.stat().st_size}


async def test_a_store_that_fails_for_another_reason_is_not_mended(tmp_path: Path) -> None:
    folder = await fill(tmp_path)
    with (folder / "appendonly.aof.2.incr.aof").open("ab") as file:
        file.write(b"*1\r\n$7\r\nUNKNOWN\r\n")
    before = (folder / "appendonly.aof.2.incr.aof").read_bytes()
    with pytest.raises(SettingsError, match="did not start"):
        await EmbeddedStore(tmp_path, binary=find_server()).start()
    assert (folder / "appendonly.aof.2.incr.aof").read_bytes() == before
