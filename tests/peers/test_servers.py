"""Several servers over one store: what is changed on one holds on all when it is acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cacheserver.storage.connection import command
from tests.api.admin import put
from tests.house import ADMIN_KEY, MODEL, House, came_from
from tests.peers.four_servers import until
from tests.redis_servers import prefix, url

__all__ = ["prefix", "url"]  # fixtures

ADMIN = {"x-api-key": ADMIN_KEY}
NOT_STORED = {"x-cache-ttl": "0"}
ASKED = "How do I reset my password?"
REPHRASED = "How can I reset my password?"


@pytest.fixture
async def three(url: str, prefix: str, tmp_path: Path) -> AsyncIterator[list[House]]:
    async with AsyncExitStack() as stack:
        store: dict[str, Any] = {"redis_url": url, "redis_prefix": prefix[-9:]}
        one = await stack.enter_async_context(House.open(tmp_path / "0", **store))
        upstream = one.parts.host.settings.upstream  # one Claude: it is part of a fingerprint
        others = [
            await stack.enter_async_context(
                House.open(tmp_path / str(n), upstream=upstream, **store)
            )
            for n in (1, 2)
        ]
        yield [one, *others]


async def know_each_other(houses: list[House]) -> None:
    async with asyncio.timeout(10):
        while any(house.parts.host.peers.live < len(houses) for house in houses):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_one_server_stores_the_others_find_by_similarity(three: list[House]) -> None:
    one, *others = three
    await know_each_other(three)
    assert came_from(await one.ask(ASKED))[0] == "miss"
    async with asyncio.timeout(10):
        while not all(len(other.parts.entries.index) for other in others):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    for other in others:
        assert came_from(await other.ask(REPHRASED)) == ("semantic", "similar")
    assert len(one.asked) == 1


async def test_what_was_stored_while_a_server_did_not_listen_is_found_by_it(
    three: list[House], url: str, prefix: str, tmp_path: Path
) -> None:
    one = three[0]
    assert came_from(await one.ask(ASKED))[0] == "miss"
    store: dict[str, Any] = {"redis_url": url, "redis_prefix": prefix[-9:]}
    upstream = one.parts.host.settings.upstream
    async with House.open(tmp_path / "late", upstream=upstream, **store) as late:
        assert came_from(await late.ask(REPHRASED)) == ("semantic", "similar")


async def test_a_gap_in_the_stream_is_repaired_from_the_store(three: list[House]) -> None:
    one, two, _ = three
    await know_each_other(three)
    held_up = asyncio.Event()
    followed = two.parts.entries.entries.vectors.of

    async def late(fingerprints: list[str]) -> object:
        await held_up.wait()
        return await followed(fingerprints)

    two.parts.entries.entries.vectors.of = late  # type: ignore[assignment,method-assign]
    assert came_from(await one.ask("What is the capital of France?"))[0] == "miss"
    await asyncio.sleep(0)
    assert came_from(await one.ask(ASKED))[0] == "miss"
    redis, store = one.parts.host.store.redis, one.parts.host.store
    await redis.execute_command("XTRIM", f"{store.prefix}changes", "MAXLEN", 0)
    held_up.set()
    async with asyncio.timeout(20):
        while len(two.parts.entries.index) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert came_from(await two.ask(REPHRASED))[0] == "semantic"


async def test_a_revoked_key_is_refused_everywhere_when_that_is_acknowledged(
    three: list[House],
) -> None:
    one, *others = three
    made = await one.http.post("/admin/v1/keys", json={"tenant": "shop"}, headers=ADMIN)
    key, id = made.json()["key"], made.json()["id"]
    for house in three:
        assert (await house.ask(key=key)).status_code == 200
    assert (await one.http.delete(f"/admin/v1/keys/{id}", headers=ADMIN)).status_code < 300
    for house in others:
        assert (await house.ask(key=key)).status_code == 401


async def test_a_key_is_needed_everywhere_once_the_first_was_created(three: list[House]) -> None:
    one, *others = three
    for house in three:
        assert (await house.ask()).status_code == 200
    await one.http.post("/admin/v1/keys", json={"tenant": "shop"}, headers=ADMIN)
    for house in others:
        assert (await house.ask()).status_code == 401


async def test_a_raised_bar_holds_everywhere_when_it_is_acknowledged(three: list[House]) -> None:
    one, *others = three
    await know_each_other(three)
    assert came_from(await one.ask(ASKED))[0] == "miss"
    async with asyncio.timeout(10):
        while not all(len(other.parts.entries.index) for other in others):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    for bar, tier in ((0.995, "miss"), (0.9, "semantic")):
        path = "/admin/v1/tenants/default"
        body = {"bar": {"similarity": bar}}
        changed = await one.http.put(path, json=body, headers=ADMIN)
        assert changed.status_code == 200, changed.text
        for other in others:
            got = await other.ask(REPHRASED, headers=NOT_STORED)
            assert came_from(got)[0] == tier


async def until_trusted(house: House) -> None:
    """Return at once, unless the server's lease has just lapsed: then it reads all anew first."""
    await until(lambda: house.parts.host.peers.held)


async def test_a_live_setting_holds_everywhere_when_it_is_acknowledged(three: list[House]) -> None:
    one, *others = three
    for retries in (0, 7, 1):
        await put(one, "settings", retries=retries)
        for other in others:
            await until_trusted(other)
            assert other.parts.host.settings.retries == retries
            assert other.parts.upstream.retries == retries


async def test_a_price_holds_everywhere_when_it_is_acknowledged(three: list[House]) -> None:
    one, *others = three
    for price in (100, 7, 250):
        await put(one, "prices", prices={MODEL: {"input": price, "output": 0}})
        for n, other in enumerate(others):
            await until_trusted(other)
            asked = {"prompt": f"What costs {price} on {n}?", "model": MODEL}
            found = (await other.http.post("/v1/query", json=asked)).json()
            nano = found["usage"]["input_tokens"] * price * 1_000
            assert found["cost_usd"] == f"{Decimal(nano) / 10**9:.9f}"
            await other.parts.ledger.flush()
    rows = [
        row
        async for page in one.parts.ledger_export.rows(one.clock() - 3_600, one.clock() + 3_600)
        for row in page
    ]
    booked = {row["cost_nanodollars"] / row["input_tokens"] for row in rows}
    assert booked == {100_000, 7_000, 250_000}


async def test_an_erased_question_is_in_no_memory_when_that_is_acknowledged(
    three: list[House],
) -> None:
    one, *others = three
    for house in three:
        await house.ask(ASKED)
    async with asyncio.timeout(10):
        while not all(house.parts.entries.entries.hot.size for house in three):
            for house in three:
                assert came_from(await house.ask(ASKED))[0] == "exact"
    erased = await one.http.post("/v1/erase", json={"tenant": "default"})
    assert erased.status_code in (200, 202), erased.text
    assert any("ledger files of other servers" in one for one in erased.json()["not_reached"])
    # The stream has nothing of before, and nobody lacks what was dropped from it.
    store = one.parts.host.store
    first, *_ = await command(store.redis, "XRANGE", f"{store.prefix}changes", "-", "+")
    assert first[1][b"k"] == b"erased"
    for house in three:
        metrics = await house.http.get("/metrics", headers=ADMIN)
        assert metrics.status_code == 200
        assert "peers-gap" not in metrics.text
    for other in others:
        assert other.parts.entries.entries.hot.size == 0
        got = await other.ask(ASKED, headers={"cache-control": "only-if-cached"})
        assert got.status_code == 404


async def test_a_server_without_a_lease_serves_nothing_that_is_stored(three: list[House]) -> None:
    one, two, _ = three
    assert came_from(await one.ask(ASKED))[0] == "miss"
    assert came_from(await two.ask(ASKED))[0] == "exact"
    await two.parts.host.peers.close()
    got = await two.ask(ASKED)
    assert came_from(got) == ("miss", "degraded")


async def test_a_server_that_stands_still_is_waited_for_no_longer_than_its_lease(
    three: list[House],
) -> None:
    one, two, _ = three
    peers = two.parts.host.peers
    for task in peers._tasks:
        task.cancel()
    began = time.monotonic()
    purge = await one.http.post("/v1/purge", json={"namespace": "any"}, timeout=10)
    assert purge.status_code == 200, purge.text
    assert time.monotonic() - began < 5
