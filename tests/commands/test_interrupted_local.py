"""Ctrl-C in commands that need no server: backups, restores, simulations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cacheserver.backup import backup_file
from cacheserver.core.command_line import INTERRUPTED, OK
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.storage.connection import PREFIX, command, connect
from tests.commands.foreground import Foreground, Gate
from tests.redis_servers import ENGINES, serving

KEYS = 2_000  # several pages of a scan


@pytest.fixture
def redis_url() -> Iterator[str]:
    with serving(ENGINES["valkey"]) as url:
        yield url


@asynccontextmanager
async def held(
    url: str, mark: bytes, nth: int, *words: str | Path, data: Path
) -> AsyncIterator[Foreground]:
    """Run a command until it sends its `nth` command with `mark` to the store at `url`."""
    gate = Gate(mark, nth)
    async with gate.before(path=url.removeprefix("unix://")) as port:
        through = f"redis://127.0.0.1:{port}"
        shown = await Foreground.start(*words, cwd=data.parent, data_dir=data, redis_url=through)
        await shown.until(gate.shut)
        yield shown


async def fill(url: str) -> None:
    redis = connect(url)
    async with redis.pipeline() as pipe:
        for n in range(KEYS):
            pipe.set(f"{PREFIX}e:{n}", f"{n}" * 100)
        await pipe.execute()
    await redis.aclose()


async def count(url: str) -> int:
    redis = connect(url)
    found = len(await command(redis, "KEYS", f"{PREFIX}e:*"))
    await redis.aclose()
    return found


async def whole(*words: str | Path, data: Path, **variables: str | Path) -> None:
    done = await (await Foreground.start(*words, cwd=data.parent, data_dir=data, **variables)).end()
    assert done.status == OK, done.err


async def test_no_part_of_a_backup_is_left(tmp_path: Path, redis_url: str) -> None:
    data, file = tmp_path / "data", tmp_path / "backup"
    await fill(redis_url)
    async with held(redis_url, b"SCAN", 3, "backup", file, data=data) as backup:
        await backup.shows("saving: ")
        done = await backup.interrupt()
    assert (done.status, done.out) == (INTERRUPTED, "")
    assert done.err.endswith("cacheserver: interrupted; no backup was written; run it again\n")
    assert not left(tmp_path)
    await whole("backup", file, data=data, redis_url=redis_url)
    assert backup_file.read_meta(file)["prefix"] == PREFIX


def left(folder: Path) -> list[str]:
    """Return the names in a folder but that of the data directory."""
    return [path.name for path in folder.iterdir() if path.name not in ("data", ".config")]


async def test_a_restore_says_whether_anything_was_changed(tmp_path: Path, redis_url: str) -> None:
    data, file = tmp_path / "data", tmp_path / "backup"
    await fill(redis_url)
    await whole("backup", file, data=data, redis_url=redis_url)
    words = ("restore", file, "--replace")
    with serving(ENGINES["valkey"]) as other:
        async with held(other, b"SCAN", 1, *words, data=data) as restore:
            await restore.shows("checking: ")
            done = await restore.interrupt()
        assert (done.status, await count(other)) == (INTERRUPTED, 0)
        assert done.err.endswith("cacheserver: interrupted; nothing was changed; run it again\n")
        async with held(other, b"\r\nSET\r\n", 2, *words, data=data) as restore:
            done = await restore.interrupt()
        assert done.status == INTERRUPTED, done.err
        says = "interrupted; no server starts on a part of a backup; run it again, with --replace"
        assert says in done.err
        refused = await Foreground.start(
            "serve", "--port", "0", cwd=tmp_path, data_dir=data, redis_url=other,
            upstream="simulated",
        )  # fmt: skip
        assert "restore" in (await refused.end()).err
        await whole(*words, data=data, redis_url=other)
        assert await count(other) == KEYS


async def test_a_data_directory_has_the_old_store_or_the_new_one(
    tmp_path: Path, redis_url: str
) -> None:
    data, file = tmp_path / "data", tmp_path / "backup"
    await fill(redis_url)
    await whole("backup", file, data=tmp_path / "none", redis_url=redis_url)
    async with EmbeddedStore(data / "store") as url:
        redis = connect(url)
        await command(redis, "SET", f"{PREFIX}e:old", 1)
        await redis.aclose()
    restore = await Foreground.start("restore", file, "--replace", cwd=tmp_path, data_dir=data)
    await restore.shows("restoring: ")
    done = await restore.interrupt()  # which may come too late: then all is there
    assert done.status in (OK, INTERRUPTED), done.err
    assert not list(data.glob(".restore-*"))
    async with EmbeddedStore(data / "store") as url:
        assert await count(url) in ((KEYS,) if done.status == OK else (1, KEYS))


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_simulation_ends_without_a_word_of_its_processes(
    tmp_path: Path, processes: int
) -> None:
    simulation = await Foreground.start(
        "simulate", "code-review", "--conversations", "3000000", "--processes", f"{processes}",
        cwd=tmp_path,
    )  # fmt: skip
    await simulation.shows("replaying: ")
    done = await simulation.interrupt()
    assert (done.status, done.out) == (INTERRUPTED, "")
    assert done.err.endswith("cacheserver: interrupted; nothing was written; run it again\n")
    assert "Traceback" not in done.err
