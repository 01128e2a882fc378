from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from cacheserver.cache.store.entries import Entries
from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.embedded import process as child
from cacheserver.embedded import snapshot
from cacheserver.embedded.store import EmbeddedStore, running_url
from cacheserver.storage.connection import Connection, check_server, command, connect
from tests.live_ids import live_ids
from tests.redis_servers import ENGINES, listens


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    one = EmbeddedStore(tmp_path)
    yield one
    await one.stop()


async def set_key(url: str, key: str) -> None:
    client = connect(url)
    await command(client, "SET", key, "kept")
    await client.aclose()


async def get_key(url: str, key: str) -> bytes | None:
    client = connect(url)
    value: bytes | None = await command(client, "GET", key)
    await client.aclose()
    return value


@pytest.mark.parametrize("engine", ENGINES)
async def test_what_was_stored_is_there_after_a_stop_and_a_start(
    tmp_path: Path, engine: str
) -> None:
    async with EmbeddedStore(tmp_path, binary=ENGINES[engine]) as url:
        await set_key(url, "key")
    assert not listens(url)
    async with EmbeddedStore(tmp_path, binary=ENGINES[engine]) as url:
        assert await get_key(url, "key") == b"kept"


async def test_starting_and_stopping_twice_is_doing_it_once(store: EmbeddedStore) -> None:
    await store.stop()
    url = await store.start()
    assert await store.start() == url
    assert listens(url)
    await store.stop()
    await store.stop()
    assert not listens(url)
    assert await store.start() == url
    assert listens(url)


async def test_nobody_else_can_reach_it(store: EmbeddedStore) -> None:
    url = await store.start()
    path = Path(url.removeprefix("unix://"))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    client = connect(url)
    settings = await command(client, "CONFIG GET", "*")
    await client.aclose()
    assert settings["port"] == "0"


async def test_a_ctrl_c_at_the_terminal_does_not_reach_it(store: EmbeddedStore) -> None:
    await store.start()
    assert store.pid is not None
    assert os.getpgid(store.pid) != os.getpgid(0)


async def test_it_keeps_everything_on_disk_and_evicts_nothing(tmp_path: Path) -> None:
    async with EmbeddedStore(tmp_path, max_memory=20_000_000) as url:
        client = connect(url)
        await check_server(client)
        settings = await command(client, "CONFIG GET", "*")
        await client.aclose()
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "no"  # tests/embedded/test_disk.py has who syncs
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["maxmemory"] == "20000000"


async def test_a_full_memory_is_an_error_that_loses_nothing(tmp_path: Path) -> None:
    async with EmbeddedStore(tmp_path, max_memory=10_000_000) as url:
        client = connect(url)
        writes = (command(client, "SET", f"key{n}", b"x" * 100_000) for n in range(200))
        replies = await asyncio.gather(*writes, return_exceptions=True)
        refused = [reply for reply in replies if reply is not True]
        assert all(isinstance(reply, StoreError) for reply in refused)
        assert "OutOfMemory" in str(refused[0])
        assert await command(client, "DBSIZE") == 200 - len(refused) > 0
        assert await command(client, "GET", "key0") == b"x" * 100_000
        await client.aclose()


async def test_a_second_server_on_the_same_directory_is_refused(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    url = await store.start()
    second = EmbeddedStore(tmp_path)
    with pytest.raises(SettingsError, match=r"CACHESERVER_DATA_DIR.*another cacheserver runs"):
        await second.start()
    await second.stop()
    assert listens(url)
    assert store.restarts == 0
    assert running_url(tmp_path) == url


async def test_a_store_stopped_long_ago_does_not_touch_its_successor(tmp_path: Path) -> None:
    first, second = EmbeddedStore(tmp_path), EmbeddedStore(tmp_path)
    await first.start()
    await first.stop()
    async with second as url:
        await first.stop()
        assert listens(url)
        assert running_url(tmp_path) == url


async def test_a_running_store_is_found_by_its_directory(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    assert running_url(tmp_path) is None
    url = await store.start()
    assert running_url(tmp_path) == url
    await store.stop()
    assert running_url(tmp_path) is None


async def test_a_directory_with_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("a long name with 'quotes\" and spaces " * 4)
    async with EmbeddedStore(deep) as url:
        path = Path(url.removeprefix("unix://"))
        assert len(os.fsencode(path)) < 100
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert running_url(deep) == url
        await set_key(url, "key")
    assert not path.parent.exists()
    with tempfile.TemporaryDirectory() as short:  # as such directories are, and pytest's are not
        async with EmbeddedStore(deep, runtime_dir=Path(short)) as url:
            assert Path(url.removeprefix("unix://")).parent.parent == Path(short)
            assert await get_key(url, "key") == b"kept"


async def test_a_child_that_is_killed_comes_back_with_all_it_acknowledged(
    store: EmbeddedStore,
) -> None:
    client = connect(await store.start())
    acknowledged = 0
    enough = asyncio.Event()

    async def write() -> None:
        nonlocal acknowledged
        while True:
            await command(client, "SET", f"key{acknowledged}", "kept")
            acknowledged += 1
            if acknowledged == 200:
                enough.set()

    writing = asyncio.create_task(write())
    await enough.wait()
    first = store.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    with pytest.raises(StoreError):
        await writing
    assert await _size(client) >= acknowledged
    assert await command(client, "GET", f"key{acknowledged - 1}") == b"kept"
    assert store.restarts == 1
    assert store.pid != first
    await client.aclose()


async def _size(client: Connection) -> int:
    """The number of keys, once the store is back."""
    while True:
        try:
            return int(await command(client, "DBSIZE"))
        except StoreError:
            await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    """Whether it still runs, where /proc tells; a zombie has no command line any more."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


@pytest.mark.parametrize("mode", ["signal", "orphan"])
async def test_a_server_killed_in_the_middle_of_writes_starts_again_with_all_of_them(
    tmp_path: Path, mode: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.embedded.writer",
        tmp_path,
        mode,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    left_behind = int(await process.stdout.readline())
    acknowledged = {(await process.stdout.readline()).decode().strip() for _ in range(300)}
    process.kill()
    await process.wait()
    rest = (await process.stdout.read()).decode().split("\n")
    acknowledged |= set(rest[:-1])  # the last line may be half written
    async with EmbeddedStore(tmp_path) as url:
        assert not _runs(left_behind)
        client = connect(url)
        entries = Entries(client)
        assert acknowledged <= await live_ids(entries)
        assert acknowledged <= {row.entry_id async for row in entries.vectors.scan()}
        newest = await entries.by_id("acme", max(acknowledged))
        assert newest is not None
        await client.aclose()


async def test_a_store_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "appendonlydir").write_text("in the way")
    store = EmbeddedStore(tmp_path)
    with pytest.raises(SettingsError, match="appendonlydir"):
        await store.start()
    (tmp_path / "store" / "appendonlydir").unlink()
    assert listens(await store.start())  # nothing of the failed start is in the way
    await store.stop()


def test_without_any_server_the_setting_to_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingsError, match="CACHESERVER_REDIS_URL"):
        child.find_server()


def test_without_the_wheel_a_server_on_the_path_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(child, "find_spec", lambda name: None)
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    assert child.find_server() == tmp_path / "valkey-server"


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_child_whose_connection_ends_as_it_is_opened_gives_no_reply(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    open_to = asyncio.open_unix_connection

    async def open_and_end(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await open_to(path)
        writer.transport.abort()
        await asyncio.sleep(0.01)  # the loop closes it
        return reader, writer

    async def ask() -> None:
        monkeypatch.setattr(asyncio, "open_unix_connection", open_and_end)
        path = tmp_path / "s"
        async with await asyncio.start_unix_server(lambda _, writer: writer.close(), path):
            assert await child.ask(path, b"PING\r\n") == b""
            with pytest.raises(StoreError, match="snapshot"):
                await snapshot._receive(path, tmp_path / "copy")

    run(ask())
