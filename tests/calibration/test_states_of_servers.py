"""Labels that one server learns, as the others know them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from cacheserver.calibration.labels import Labels
from cacheserver.calibration.states import LABELED, States
from cacheserver.observability.metrics import Metrics
from cacheserver.peers.peers import Peers, uncounted
from cacheserver.storage.connection import connect
from tests.calibration.test_calibrated import FOUND, label


@pytest.fixture
async def two(url: str, prefix: str) -> AsyncIterator[list[States]]:
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(2):
            redis = connect(url)
            stack.push_async_callback(redis.aclose)
            peers = Peers(redis, uncounted, prefix=prefix)
            labels = Labels(redis, prefix=prefix, clock=lambda: 0.0)
            states = States(
                labels, Metrics(), embedder="e", clock=lambda: 0.0, told=peers.everywhere
            )
            peers.listen(LABELED, states.look_again, anew=states.look_at_all_again)
            await peers.start()
            stack.push_async_callback(peers.close)
            found.append(states)
        yield found


async def test_a_label_counts_on_every_server_once_it_is_learned(two: list[States]) -> None:
    one, other = two
    assert (await other.get("acme", "s")).labels == ()
    for _ in range(2):
        added = await one.learn("acme", "s", label(FOUND, False))
        assert added is not None
        assert [found.right for found in (await other.get("acme", "s")).labels] == [False]
        await one.retract("acme", "s", added)
        assert (await other.get("acme", "s")).labels == ()
