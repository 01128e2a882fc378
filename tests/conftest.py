"""What tests of the whole share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path

import httpcore2
import pytest
from hypothesis import HealthCheck, settings

from cacheserver.embedding import build as embedding
from cacheserver.index.models import OnnxEmbedder
from tests.house import House
from tests.models import model_dir
from tests.redis_servers import prefix, redis, url

__all__ = ["house", "prefix", "redis", "url"]

# Machines are shared and noisy: how long an example takes is no property of the code.
settings.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ours")


@pytest.fixture(scope="session", autouse=True)
def loaded_once() -> Iterator[None]:
    """Share between the tests' servers what is slow to load and has no state.

    Each loads the model in 0.12 s, and each HTTP client the machine's certificates in 0.04 s.
    """
    shared, other = cache(OnnxEmbedder), embedding._minilm

    def minilm(folder: Path) -> OnnxEmbedder:
        return shared(folder) if folder == model_dir() else other(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "_minilm", minilm)
        patch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))
        yield


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path) as house:
        yield house
