"""The cache of a process without asyncio: threads, a loop that runs already, its end."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cacheserver.client import NotCachedError
from cacheserver.in_process import open_cache_sync
from tests.in_process.test_cache import QUESTION, settings
from tests.models import ROOT, model_dir


def test_all_of_the_client_without_asyncio(tmp_path: Path) -> None:
    with open_cache_sync(settings(tmp_path)) as cache:
        cache.ready()
        kinds = [cache.query(q).decision.kind for q in (QUESTION, "What's the capital of France?")]
        assert kinds == ["miss", "semantic"]
        with cache.stream(QUESTION) as stream:
            assert stream.decision.kind == "exact"
            assert "".join(stream.text()) == cache.query(QUESTION).text
        with cache.stream("Long? [[sim words=300 hang=5]]") as left:
            next(iter(left))
        with pytest.raises(NotCachedError):
            cache.query("Never asked?", cache="only")
    with pytest.raises(RuntimeError, match="the cache is closed"):
        cache.query(QUESTION)
    cache.close()


def test_threads_share_it_and_equal_questions_are_paid_once(tmp_path: Path) -> None:
    before = threading.active_count()
    with open_cache_sync(settings(tmp_path)) as cache, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(cache.query, "Shared? [[sim slow=0.2]]") for _ in range(8)]
        kinds = sorted(one.result().decision.kind for one in asked)
        assert kinds.count("miss") == 1
    assert threading.active_count() == before


async def test_where_a_loop_runs_already_as_in_a_notebook(tmp_path: Path) -> None:
    with open_cache_sync(settings(tmp_path)) as cache:
        assert cache.query(QUESTION).decision.kind == "miss"


def test_a_program_that_does_not_close_it_ends_well_and_loses_nothing(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from cacheserver import Settings, open_cache_sync
cache = open_cache_sync(
    Settings(data_dir=Path({str(tmp_path)!r}), model_dir=Path({str(model_dir())!r}),
             upstream="simulated"), environ={{}})
cache.ready()
print(cache.query({QUESTION!r}).decision.kind)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "miss\n", "")
    assert (tmp_path / "index.snapshot").exists()
    assert not (tmp_path / "store" / "store.json").exists()
    with open_cache_sync(settings(tmp_path)) as cache:
        assert cache.query(QUESTION).decision.kind == "exact"
        assert cache.stats()["requests"] == 2
