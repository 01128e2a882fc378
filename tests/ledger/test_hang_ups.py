"""Bills are in a row: whoever leaves, at any moment, and whatever the store does."""

from __future__ import annotations

import json
from asyncio import all_tasks
from pathlib import Path

import pytest

from cacheserver.claude import sse
from cacheserver.core.ledger_row import Bounds, Row
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.ledger.export import LedgerExport
from tests.hostile.claude import EVENTS, JSON, MESSAGE, Script, scripted
from tests.hostile.raw import body_of, outcomes, request, stats, under_way, until, wire
from tests.house import House
from tests.redis_servers import store
from tests.storage.test_store_hangs import stopped

__all__ = ["store"]

OWN = (("x-api-key", "sk-ant-mine"),)  # a call on a caller's own key is stopped where they leave
BYPASS = (*OWN, ("cache-control", "no-store"))


def says(claude: Script, *, stream: bool) -> None:
    claude.kind = EVENTS if stream else JSON
    claude.body = b"".join(sse.replay(MESSAGE)) if stream else json.dumps(MESSAGE).encode()


async def rows(house: House) -> list[Row]:
    await house.parts.ledger.flush()
    export = LedgerExport(house.parts.ledger.redis, prefix=house.parts.ledger.prefix)
    now = house.clock()
    return [row async for _, rows in export.minutes(now - 3_600, now + 60) for row in rows]


def read(house: House) -> bool:
    return any(flight.readers for flight in house.parts.service._flights._running.values())


def answered(house: House) -> bool:
    return any(flight.log.received for flight in house.parts.service._flights._running.values())


def listened_for() -> bool:
    """Return True if a request waits, and its caller's leaving would be noticed."""
    return any(task.get_name() == "api:presence" for task in all_tasks())


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_being_stored_when_its_caller_leaves_has_its_price(
    tmp_path: Path, store: EmbeddedStore, stream: bool
) -> None:
    given = {"redis_url": await store.start(), "credentials": "caller", "store_wait_s": 5}
    async with scripted(tmp_path / "data", **given) as (house, claude):
        says(claude, stream=stream)
        claude.go.clear()
        async with wire(house) as caller:
            caller.send(request(body_of("Mine?", stream=stream), headers=OWN))
            await until(lambda: claude.asked == 1)
            with stopped(store):
                claude.go.set()
                await until(lambda: answered(house))
                caller.hang_up()
                await until(lambda: not read(house))
            await until(lambda: not under_way(house))
        (row,) = await rows(house)
        assert (row.call, row.outcome, row.unknown) == ("msg_1", "miss", None)
        assert row.cost is not None
        assert row.cost > 0
        assert (await house.ask("Mine?", key="sk-ant-mine")).headers["x-cache"] == "exact"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_whose_container_is_being_recorded_has_its_price(
    tmp_path: Path, store: EmbeddedStore, stream: bool
) -> None:
    """The caller leaves after Claude has answered, and before the answer is on its way."""
    given = {"redis_url": await store.start(), "store_wait_s": 5}
    shown = {"container": {"id": "container_1", "expires_at": "2100-01-01T00:00:00Z"}}
    async with scripted(tmp_path / "data", **given) as (house, claude):
        claude.kind, claude.body = JSON, json.dumps({**MESSAGE, **shown}).encode()
        claude.go.clear()
        async with wire(house) as caller:
            headers = (("cache-control", "no-store"),)
            caller.send(request(body_of("Mine?", stream=stream), headers=headers))
            await until(lambda: claude.asked == 1)
            with stopped(store):
                claude.go.set()
                await until(lambda: answered(house))
                caller.hang_up()
                await until(lambda: not read(house))
            await until(lambda: not under_way(house))
        (row,) = await rows(house)
        assert (row.call, row.outcome, row.unknown) == ("msg_1", "bypass", None)
        assert row.cost is not None
        assert row.cost > 0
        assert await house.parts.passthrough.owns("default", "containers", "container_1")


async def test_a_caller_who_leaves_while_the_store_is_looked_into_has_a_row(
    tmp_path: Path, store: EmbeddedStore
) -> None:
    given = {"redis_url": await store.start(), "store_wait_s": 5}
    async with scripted(tmp_path / "data", **given) as (house, claude):
        says(claude, stream=False)
        await house.ask("Before?")
        with stopped(store):
            async with wire(house) as caller:
                caller.send(request(body_of("Looked for?")))
                await until(listened_for)
                caller.hang_up()
                await until(lambda: not listened_for())
        assert claude.asked == 1
        first, gone = await rows(house)
        assert first.outcome == "miss"
        assert (gone.outcome, gone.reason, gone.status) == ("failed", "hung-up", 499)
        assert (gone.cost, gone.unknown) == (0, None)
        await house.parts.decision_log.flush()
        assert outcomes(await stats(house)) == {"miss": 1, "failed": 1}


@pytest.mark.parametrize("leaves", [False, True])
async def test_an_answer_in_one_piece_that_breaks_off_may_be_billed(
    tmp_path: Path, leaves: bool
) -> None:
    """A stream was asked for, headers of JSON came, and then not all of it."""
    async with scripted(tmp_path, credentials="caller", retries=0) as (house, claude):
        claude.body, claude.cut = b'{"type": "mess', True
        claude.end.clear()
        async with wire(house) as caller:
            caller.send(request(body_of("Cut?", stream=True), headers=BYPASS))
            await until(lambda: claude.begun == 1)
            if leaves:
                caller.hang_up()
            else:
                claude.end.set()
                assert (await caller.answer())[0] == 502
            await until(lambda: not under_way(house))
        (row,) = await rows(house)
        assert (row.outcome, row.status) == ("failed", 499 if leaves else 502)
        assert row.cost is None
        assert isinstance(row.unknown, Bounds)
        assert row.unknown.most is not None
        assert row.unknown.most > 0
        claude.end.set()
