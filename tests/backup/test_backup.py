"""A backup holds all that was acknowledged before it, and a restore brings all of it back."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.backup import backup, backup_file, key_copy, restore
from cacheserver.config.settings import Settings
from cacheserver.core.errors import SettingsError
from cacheserver.embedded.process import find_server
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.storage import stored_row
from cacheserver.storage.connection import Connection, command, connect
from tests.house import ADMIN_KEY, House, came_from
from tests.ledger.rows import row
from tests.redis_servers import serving


async def contents(redis: Connection, prefix: str = "") -> dict[bytes, Any]:
    """Every key with what it holds and whether it ends, but the trail, in which a restore is."""
    found: dict[bytes, Any] = {}
    async for words in key_copy.read_keys(redis, prefix):
        name, key, *rest = words
        assert isinstance(key, bytes)
        if key.endswith(b"audittrail"):
            continue
        held = found.setdefault(key, [set(), False])
        if name == "PEXPIREAT":
            held[1] = True
        elif name in ("HSET", "ZADD"):
            held[0] |= set(zip(rest[::2], rest[1::2], strict=True))
        elif name == "SADD":
            held[0] |= set(rest)
        elif name != "DEL":
            held[0].add((name, *rest))
    return found


async def fill(redis: Connection) -> None:
    """Keys of every type, small and large, with and without an end."""
    await command(redis, "SET", "cs1:text", b"\x00\xff\r\n$3\r\n")
    await command(redis, "SET", "cs1:empty", b"")
    await command(redis, "SET", "cs1:ends", "x", "PX", 10_000_000)
    await command(redis, "RPUSH", "cs1:list", *range(1_203))
    await command(redis, "HSET", "cs1:hash", *(str(n) for n in range(2_406)))
    await command(redis, "HSET", "cs1:hash-ends", "a", 1)
    await command(redis, "PEXPIRE", "cs1:hash-ends", 10_000_000)
    await command(redis, "SADD", "cs1:set", *range(1_203))
    scores = [0.1, -1e300, 1 / 3, float("inf"), 2**53, 1.7e-308]
    await command(redis, "ZADD", "cs1:sorted", *(w for n in scores for w in (repr(n), f"m{n}")))
    for n in range(3):
        await command(redis, "XADD", "cs1:stream", f"5-{n + 1}", "n", n)
    await command(redis, "XADD", "cs1:emptied", "7-1", "n", 1)
    await command(redis, "XDEL", "cs1:emptied", "7-1")


async def test_every_type_comes_back_as_it_was(tmp_path: Path) -> None:
    config = Settings(data_dir=tmp_path / "one")
    async with EmbeddedStore(config.data_dir) as url:
        client = connect(url)
        await fill(client)
        before = await contents(client)
        await client.aclose()
    await backup.save(config, tmp_path / "file")  # the store is stopped
    other = Settings(data_dir=tmp_path / "two")
    await restore.load(other, tmp_path / "file", replace=False)
    async with EmbeddedStore(other.data_dir) as url:
        client = connect(url)
        assert await contents(client) == before
        assert len(before) == 10
        for key, last in (("cs1:stream", b"5-3"), ("cs1:emptied", b"7-1")):
            about = await command(client, "XINFO STREAM", key)
            assert about["last-generated-id"] == last
        ends = await command(client, "PTTL", "cs1:ends")
        assert 9_000_000 < ends <= 10_000_000
        await client.aclose()


async def test_a_backup_of_a_store_that_serves_is_of_one_moment(tmp_path: Path) -> None:
    """Two keys are always written together, and are alike in the backup."""
    config = Settings(data_dir=tmp_path / "one")
    async with EmbeddedStore(config.data_dir) as url:
        client = connect(url)
        for n in range(5_000):
            await command(client, "SET", f"cs1:{n}", "x" * 100)
        acknowledged, begun, ending = 0, asyncio.Event(), asyncio.Event()

        async def write() -> None:
            nonlocal acknowledged
            while not ending.is_set():
                await command(client, "MSET", "cs1:a", acknowledged, "cs1:z", acknowledged)
                acknowledged += 1
                begun.set()

        writing = asyncio.create_task(write())
        await begun.wait()
        before = acknowledged - 1
        await backup.save(config, tmp_path / "file")
        during = acknowledged
        ending.set()
        await writing
        await client.aclose()
    assert during > before + 1  # the store went on meanwhile
    held = {tuple(r[1:]) for r in backup_file.records(tmp_path / "file") if r[0] == b"SET"}
    found = {key: int(value) for key, value in held if key in (b"cs1:a", b"cs1:z")}
    assert found[b"cs1:a"] == found[b"cs1:z"] >= before
    assert len(held) == 5_002


async def test_a_server_serves_from_what_was_backed_up_while_it_ran(tmp_path: Path) -> None:
    data = tmp_path / "one"
    async with House.open(data, upstream="simulated") as house:
        key = await house.key("acme")
        assert came_from(await house.ask(key=key))[0] == "miss"
        await house.parts.ledger.flush()
        (data / "ledger").mkdir()
        (data / "ledger" / "rows-1-2-abc.parquet").write_bytes(b"rows" * 400_000)
        await backup.save(Settings(data_dir=data), tmp_path / "file")
        assert came_from(await house.ask("Asked after the backup?", key=key))[0] == "miss"
    two = tmp_path / "two"
    await restore.load(Settings(data_dir=two), tmp_path / "file", replace=False)
    assert (two / "ledger" / "rows-1-2-abc.parquet").read_bytes() == b"rows" * 400_000
    async with House.open(two, upstream="simulated") as house:
        assert (await house.ask(key="cs_wrong")).status_code == 401
        assert came_from(await house.ask(key=key))[0] == "exact"
        assert came_from(await house.ask("Asked after the backup?", key=key))[0] == "miss"
        trail = await house.http.get("/admin/v1/audit-trail", headers={"x-api-key": ADMIN_KEY})
        newest = trail.json()["items"][0]
        assert (newest["route"], newest["target"]) == ("cacheserver restore", {"file": "file"})


async def test_a_restore_replaces_only_when_asked_to_and_keeps_what_was_there(
    tmp_path: Path,
) -> None:
    one, two = Settings(data_dir=tmp_path / "one"), Settings(data_dir=tmp_path / "two")
    for config, value in ((one, "of one"), (two, "of two")):
        async with EmbeddedStore(config.data_dir) as url:
            client = connect(url)
            await command(client, "SET", "cs1:key", value)
            await client.aclose()
    await backup.save(one, tmp_path / "file")
    (two.data_dir / "index.snapshot").write_bytes(b"of two")
    with pytest.raises(SettingsError, match="--replace"):
        await restore.load(two, tmp_path / "file", replace=False)
    told: list[Path | None] = []
    kept = await restore.load(two, tmp_path / "file", replace=True, begin=told.append)
    (aside,) = two.data_dir.glob("replaced-*")
    assert told == [kept] == [aside]
    assert (aside / "index.snapshot").read_bytes() == b"of two"
    for directory, held in ((two.data_dir, b"of one"), (aside, b"of two")):
        async with EmbeddedStore(directory) as url:
            client = connect(url)
            assert await command(client, "GET", "cs1:key") == held
            await client.aclose()


async def test_a_damaged_store_is_replaced(tmp_path: Path) -> None:
    one = Settings(data_dir=tmp_path / "one")
    async with EmbeddedStore(one.data_dir) as url:
        client = connect(url)
        await command(client, "SET", "cs1:key", "kept")
        await client.aclose()
    await backup.save(one, tmp_path / "file")
    base = one.data_dir / "store" / "appendonlydir" / "appendonly.aof.1.base.rdb"
    base.write_bytes(b"\0" * 200)
    with pytest.raises(SettingsError, match="restore FILE --replace"):
        await EmbeddedStore(one.data_dir).start()
    await restore.load(one, tmp_path / "file", replace=True)
    async with EmbeddedStore(one.data_dir) as url:
        client = connect(url)
        assert await command(client, "GET", "cs1:key") == b"kept"
        await client.aclose()


async def test_nothing_is_restored_under_a_server_that_runs(tmp_path: Path) -> None:
    config = Settings(data_dir=tmp_path / "one")
    async with EmbeddedStore(config.data_dir):
        await backup.save(config, tmp_path / "file")
        with pytest.raises(SettingsError, match="another cacheserver runs"):
            await restore.load(config, tmp_path / "file", replace=True)


async def test_a_redis_of_ones_own_is_backed_up_and_restored_by_its_prefix(tmp_path: Path) -> None:
    with serving(find_server()) as url:
        client = connect(url)
        await fill(client)
        await command(client, "SET", "another:key", "of another application")
        before = await contents(client, "cs1:")
        config = Settings(data_dir=tmp_path / "data", redis_url=url)  # type: ignore[arg-type]
        await backup.save(config, tmp_path / "file")
        await command(client, "SET", "cs1:later", "1")
        with pytest.raises(SettingsError, match="--replace"):
            await restore.load(config, tmp_path / "file", replace=False)
        await restore.load(config, tmp_path / "file", replace=True)
        assert await contents(client, "cs1:") == before
        assert await command(client, "GET", "another:key") == b"of another application"
        (kept,) = config.data_dir.glob("replaced-*.backup")
        await restore.load(config, kept, replace=True)
        assert await command(client, "GET", "cs1:later") == b"1"
        # A row that was recorded a moment ago is in the backup, once.
        await command(client, "HSET", "cs1:lp", "dec_1", stored_row.encode(row(id="dec_1")))
        await backup.save(config, tmp_path / "second")
        await restore.load(config, tmp_path / "second", replace=True)
        assert await command(client, "GET", "cs1:lrn") == b"1"
        assert not await command(client, "EXISTS", "cs1:lp")
        await client.aclose()


async def test_a_restore_that_was_interrupted_is_not_served(tmp_path: Path) -> None:
    with serving(find_server()) as url:
        client = connect(url)
        await command(client, "SET", "cs1:restoring", 1)
        with pytest.raises(SettingsError, match="was begun and not ended"):
            async with House.open(tmp_path, redis_url=url):
                pass
        await client.aclose()


async def test_another_prefix_is_refused_by_name(tmp_path: Path) -> None:
    async with EmbeddedStore(tmp_path / "one"):
        await backup.save(Settings(data_dir=tmp_path / "one"), tmp_path / "file")
    other = Settings(data_dir=tmp_path / "two", redis_prefix="cs2:")
    with pytest.raises(SettingsError, match=r"CACHESERVER_REDIS_PREFIX.*cs2:"):
        await restore.load(other, tmp_path / "file", replace=False)


def written(path: Path, *records: tuple[bytes, ...]) -> bytes:
    path.unlink(missing_ok=True)
    with backup_file.writing(path, {"schema": 1, "prefix": "cs1:"}) as writer:
        for record in records:
            writer.add(*record)
    return path.read_bytes()


words = st.lists(st.binary(max_size=40), min_size=2, max_size=4).map(lambda rest: (b"SET", *rest))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(words, max_size=5), st.data())
def test_a_file_that_was_cut_or_changed_is_refused_or_reads_the_same(
    tmp_path: Path, records: list[tuple[bytes, ...]], data: st.DataObject
) -> None:
    path = tmp_path / "file"
    whole = written(path, *records)
    assert [tuple(one) for one in backup_file.records(path)][1:] == records
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:at])
    else:
        changed = whole[at] ^ data.draw(st.integers(1, 255))
        path.write_bytes(whole[:at] + bytes([changed]) + whole[at + 1 :])
    # One bit of a frame's header says how large a buffer helps, and its last bytes what follows
    # our own last record with its checksum: neither changes anything.
    with contextlib.suppress(SettingsError):
        assert [tuple(one) for one in backup_file.records(path)][1:] == records
        return
    with pytest.raises(SettingsError):
        backup_file.read_meta(path)


def test_a_backup_replaces_nothing_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(SettingsError, match="exists already"), backup_file.writing(path, {}):
        pass
    assert path.read_text() == "mine"
    with pytest.raises(ZeroDivisionError), backup_file.writing(tmp_path / "new", {}):
        raise ZeroDivisionError
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "no backup"), (b"cacheserver-backup 2\n...", "newer"), (b"PK\3\4" * 9, "no backup")],
)
def test_a_file_that_is_no_backup_is_told_from_one(
    tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(SettingsError, match=says):
        backup_file.read_meta(tmp_path / "file")


async def test_a_backup_cannot_write_outside_its_folders(tmp_path: Path) -> None:
    for name in (b"../out", b"/tmp/out", b"store/out", b"ledger/../../out"):
        written(tmp_path / "file", (b"file", name, b"0", b"x"))
        with pytest.raises(SettingsError, match="no place of ours"):
            await restore.load(
                Settings(data_dir=tmp_path / "data"), tmp_path / "file", replace=False
            )


def test_the_commands_are_told_in_one_line(tmp_path: Path) -> None:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cacheserver.cli", *args],
            env={"CACHESERVER_DATA_DIR": str(tmp_path / "data"), "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )

    nothing = run("backup", str(tmp_path / "file"))
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "has no store" in nothing.stderr
    mended = run("repair")
    assert (mended.returncode, mended.stdout) == (0, "There is no damage.\n")
