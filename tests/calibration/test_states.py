"""The contract of `Labels` for calibration states, on every engine at hand."""

from __future__ import annotations

import asyncio
import uuid

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.calibration.labels import Labels
from cacheserver.storage.connection import Connection, command, connect
from cacheserver.tenants.grace_cache import FRESH_S
from tests.calibration.label_stores import clock, elsewhere, labels
from tests.clock import Clock

__all__ = ["clock", "elsewhere", "labels"]


async def test_a_state_comes_back_as_it_was_saved(labels: Labels, elsewhere: Labels) -> None:
    assert await labels.state("acme", "s") == (None, 0)
    assert await labels.save_state("acme", "s", b"\x00state\xff", version=0)
    for server in (labels, elsewhere):
        state, version = await server.state("acme", "s")
        assert state == b"\x00state\xff"
        assert version > 0
    assert await labels.state("acme", "t") == (None, 0)


async def test_only_what_was_made_from_the_last_state_is_saved(
    labels: Labels, elsewhere: Labels
) -> None:
    _, none = await elsewhere.state("acme", "s")
    assert await labels.save_state("acme", "s", b"one", version=none)
    assert not await elsewhere.save_state("acme", "s", b"other", version=none)
    state, version = await elsewhere.state("acme", "s")  # what holds, not what was remembered
    assert state == b"one"
    assert await elsewhere.save_state("acme", "s", b"two", version=version)
    assert not await labels.save_state("acme", "s", b"other", version=version)
    assert (await labels.state("acme", "s"))[0] == b"two"


async def test_a_state_that_began_again_has_no_version_of_its_past(
    labels: Labels, redis: Connection, prefix: str, clock: Clock
) -> None:
    assert await labels.save_state("acme", "s", b"one", version=0)
    _, past = await labels.state("acme", "s")
    await command(redis, "DEL", f"{prefix}calib:4:acme:s")
    assert await labels.save_state("acme", "s", b"new", version=0)
    assert not await labels.save_state("acme", "s", b"late", version=past)
    assert (await labels.state("acme", "s"))[0] == b"new"


async def test_a_state_is_read_again_after_a_moment_and_not_before(
    labels: Labels, elsewhere: Labels, clock: Clock
) -> None:
    assert await labels.state("acme", "s") == (None, 0)
    assert await elsewhere.save_state("acme", "s", b"one", version=0)
    clock.time += FRESH_S - 0.001
    assert await labels.state("acme", "s") == (None, 0)
    clock.time += 0.001
    assert (await labels.state("acme", "s"))[0] == b"one"


async def test_a_read_overtaken_by_a_save_is_not_remembered(labels: Labels) -> None:
    read = asyncio.create_task(labels.state("acme", "s"))
    await asyncio.sleep(0)  # the task runs, and has asked
    saved = asyncio.create_task(labels.save_state("acme", "s", b"one", version=0))
    await asyncio.gather(read, saved)
    assert (await labels.state("acme", "s"))[0] == b"one"


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(servers=st.integers(2, 5), steps=st.integers(1, 8))
async def test_servers_that_save_at_once_lose_no_step(url: str, servers: int, steps: int) -> None:
    """Each adds to a sum until it was saved; no step counts twice and none is lost."""
    prefix = f"{uuid.uuid4().hex}:"
    saved = 0

    async def server() -> None:
        nonlocal saved
        client = connect(url)
        labels = Labels(client, prefix=prefix)
        for _ in range(steps):
            while True:
                state, version = await labels.state("acme", "s")
                after = str(int(state or b"0") + 1).encode()
                if await labels.save_state("acme", "s", after, version=version):
                    saved += 1
                    break
        await client.aclose()

    await asyncio.gather(*(server() for _ in range(servers)))
    client = connect(url)
    assert (await Labels(client, prefix=prefix).state("acme", "s"))[0] == str(saved).encode()
    assert saved == servers * steps
    await client.aclose()
