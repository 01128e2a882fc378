"""Several processes on one data directory: they share its store, and it outlives each of them."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from cacheserver.embedded.shared_store import SharedStore
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.in_process import open_cache, open_cache_sync
from tests.hostile.raw import until
from tests.in_process.test_cache import QUESTION, settings
from tests.models import ROOT, model_dir

# Answers a line with the kind of its decision; one that begins with "?" from what is stored only.
# An empty line ends it.
WORKER = """
import sys
from pathlib import Path
from cacheserver import Settings, open_cache_sync
from cacheserver.client import NotCachedError
folder, model = map(Path, sys.argv[1:])
own = Settings(data_dir=folder, model_dir=model, upstream="simulated", store_wait_s=20)
with open_cache_sync(own, environ={}) as cache:
    cache.ready()
    print("ready", flush=True)
    for line in map(str.strip, sys.stdin):
        if not line:
            break
        try:
            only = "only" if line[0] == "?" else "default"
            print(cache.query(line.lstrip("?"), cache=only).decision.kind, flush=True)
        except NotCachedError:
            print("miss", flush=True)
print("closed", flush=True)
"""


class Worker:
    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), str(model_dir())],
            env={"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.heard() == "ready"

    def heard(self) -> str:
        return _open(self.process.stdout).readline().strip()

    def ask(self, text: str) -> str:
        print(text, file=_open(self.process.stdin), flush=True)
        return self.heard()


def _open(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[tuple[Worker, Worker]]:
    both = Worker(tmp_path), Worker(tmp_path)
    yield both
    for worker in both:
        worker.process.kill()
        worker.process.communicate()


def test_what_one_stores_the_other_serves(workers: tuple[Worker, Worker], tmp_path: Path) -> None:
    first, second = workers
    assert [first.ask(QUESTION), second.ask(QUESTION)] == ["miss", "exact"]
    assert [second.ask("Capital of Peru?"), first.ask("Capital of Peru?")] == ["miss", "exact"]
    assert [first.ask(""), second.ask("")] == ["closed", "closed"]
    # Each saved its own view of the index; the next start has all of both.
    with open_cache_sync(settings(tmp_path)) as cache:
        cache.ready()
        assert cache.query("What's the capital of France?").decision.kind == "semantic"
        assert cache.query("Capital of Peru?").decision.kind == "exact"


def test_what_one_stores_the_other_finds_by_similarity(workers: tuple[Worker, Worker]) -> None:
    first, second = workers
    similar = "?What's the capital of France?"
    assert [first.ask(QUESTION), first.ask(similar)] == ["miss", "semantic"]
    answers = iter(lambda: second.ask(similar), "semantic")  # some milliseconds later
    assert set(itertools.islice(answers, 10_000)) <= {"miss"}
    assert second.ask(similar) == "semantic"


@pytest.mark.parametrize("killed", [False, True])
def test_the_second_goes_on_with_the_store_of_the_first(
    workers: tuple[Worker, Worker], killed: bool
) -> None:
    first, second = workers
    assert first.ask(QUESTION) == "miss"
    if killed:
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    else:
        assert first.ask("") == "closed"
    answers = iter(lambda: second.ask(QUESTION), "exact")  # misses while no store answers
    assert set(itertools.islice(answers, 10_000)) <= {"miss"}
    assert second.ask(QUESTION) == "exact"
    assert second.ask("Stored after that?") == "miss"
    assert second.ask("Stored after that?") == "exact"


async def test_a_server_finds_its_directory_free_when_it_comes_back(tmp_path: Path) -> None:
    server = EmbeddedStore(tmp_path)
    url = await server.start()
    async with SharedStore(tmp_path, server_back_s=60) as shared:
        assert shared == url
        await server.stop()
        await asyncio.sleep(0.3)  # three looks
        assert await server.start() == url
        await server.stop()


async def test_a_shared_store_goes_on_under_its_address_where_the_path_is_long(
    tmp_path: Path,
) -> None:
    folder = tmp_path / ("long" * 30)
    first, second = SharedStore(folder), SharedStore(folder)
    url = await first.start()
    assert len(url) < 100
    assert await second.start() == url
    assert second.pid is None
    await first.stop()
    await until(lambda: second.pid is not None)
    third = SharedStore(folder)
    assert await third.start() == url
    await third.stop()
    await second.stop()
    assert not Path(url.removeprefix("unix://")).parent.exists()


def test_a_forked_child_is_refused_and_its_parent_goes_on(tmp_path: Path) -> None:
    """Forking with threads is what prefork servers do that load the application first."""
    code = f"""
import asyncio, os, warnings
from pathlib import Path
from cacheserver import Settings, open_cache, open_cache_sync
warnings.simplefilter("ignore", DeprecationWarning)
own = Settings(data_dir=Path({str(tmp_path)!r}), model_dir=Path({str(model_dir())!r}),
               upstream="simulated")
cache = open_cache_sync(own, environ={{}})
print(cache.query("Before?").decision.kind, flush=True)
child = os.fork()
if child == 0:
    for use in (lambda: cache.query("Before?"), lambda: open_cache_sync(own),
                lambda: open_cache(own)):
        try:
            use()
        except RuntimeError as error:
            print(error, flush=True)
    cache.close()
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
print(cache.query("Before?").decision.kind)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == [
        "miss",
        "the cache was opened before this process was forked; open one in each process",
        *["this process was forked from one that had opened a cache; open it after the fork only"]
        * 2,
        "0",
        "exact",
    ], done.stderr
    assert done.stderr == ""


async def test_an_asyncio_cache_is_refused_in_a_forked_child(tmp_path: Path) -> None:
    async with open_cache(settings(tmp_path)) as cache:
        transport = cache._opened.transport
        transport._pid += 1  # forking a test that has threads may hang it
        with pytest.raises(RuntimeError, match="before this process was forked"):
            await cache.query(QUESTION)
        transport._pid -= 1


def test_a_forked_child_keeps_no_lock(tmp_path: Path) -> None:
    """The parent is killed, and its child lives: the directory is free."""
    code = f"""
import os, time
from pathlib import Path
from cacheserver import Settings, open_cache_sync
open_cache_sync(Settings(data_dir=Path({str(tmp_path)!r}), model_dir=Path({str(model_dir())!r}),
                         upstream="simulated"), environ={{}})
child = os.fork()
if child == 0:
    os.close(1)
    time.sleep(600)
print(child, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        child = int(_open(parent.stdout).readline())
        parent.kill()
    try:
        with open_cache_sync(settings(tmp_path)) as cache:
            assert cache.query(QUESTION).decision.kind == "miss"
    finally:
        os.kill(child, signal.SIGKILL)
