"""Labels of two servers on one store, under one clock: fixtures."""

from __future__ import annotations

import pytest

from cacheserver.calibration.labels import Labels
from cacheserver.storage.connection import Connection
from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def labels(redis: Connection, prefix: str, clock: Clock) -> Labels:
    return Labels(redis, prefix=prefix, clock=clock, now=clock)


@pytest.fixture
def elsewhere(redis: Connection, prefix: str, clock: Clock) -> Labels:
    """Another server on the same store."""
    return Labels(redis, prefix=prefix, clock=clock, now=clock)
