"""What tests of the whole share."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpcore2
import pytest
from hypothesis import HealthCheck, settings
from redis import utils as redis_utils

from cacheserver.embedding import build as embedding
from cacheserver.index.models import OnnxEmbedder
from tests.house import House
from tests.models import model_dir
from tests.redis_servers import prefix, redis, url
from tests.schedule import Schedule, at_once, in_order

__all__ = ["house", "prefix", "redis", "url"]

# Machines are shared and noisy: how long an example takes is no property of the code.
settings.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ours")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Load the tests with the garbage collector off, and have it pass over them afterwards.

    They all stay to the end. To go through them takes half a second, again every few tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)  # after pytest's own order, by fixtures
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # a worker of several
        items[:] = in_order(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return at_once()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Schedule | None:
    return Schedule(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def loaded_once() -> Iterator[None]:
    """Share between the tests' servers what is slow to load and has no state.

    Each loads the model in 0.12 s, each HTTP client the machine's certificates in 0.04 s, and each
    connection to a store the version of its library in 0.01 s.
    """
    shared, other = cache(OnnxEmbedder), embedding._minilm

    def minilm(folder: Path) -> OnnxEmbedder:
        return shared(folder) if folder == model_dir() else other(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "_minilm", minilm)
        patch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))
        patch.setattr(redis_utils, "get_lib_version", cache(redis_utils.get_lib_version))
        yield


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path) as house:
        yield house
