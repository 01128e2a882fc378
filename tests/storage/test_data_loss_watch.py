"""A store that loses its data while the server runs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from cacheserver.alerts.store_rules import store_alerts
from cacheserver.embedded.aof_sync import AofSync
from cacheserver.embedded.process import find_server
from cacheserver.observability.metrics import Metrics
from cacheserver.storage.connection import command, connect
from cacheserver.storage.data_loss_watch import DataLossWatch, StoreState
from tests.house import ADMIN_KEY, House, came_from
from tests.redis_servers import serving

UNSYNCED = "cacheserver_store_unsynced_seconds "
QUESTION = "What is the capital of France?"
ALIKE = "what is the capital of france"


class Counted:
    def __init__(self) -> None:
        self.sites: list[str] = []

    def swallowed(self, site: str) -> None:
        self.sites.append(site)


async def test_an_emptied_store_is_noticed_and_told_and_nothing_of_it_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(find_server()) as url:
        async with House.open(tmp_path / "data", redis_url=url) as house:
            assert came_from(await house.ask(QUESTION))[0] == "miss"
            assert came_from(await house.ask(QUESTION))[0] == "exact"
            assert len(house.parts.entries.index) == 1
            client = connect(url)
            await command(client, "FLUSHALL")
            await client.aclose()
            assert came_from(await house.ask(ALIKE))[0] == "miss"
            async with asyncio.timeout(20):  # the index's keeper looks every five seconds
                while 'site="store-lost"} 1.0' not in house.parts.metrics.render().decode():  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            await house.parts.alerts.check()  # where the watch in the background was not first
            found = await house.parts.alerts.delivery.store.recent(10)
            assert [(told["kind"], told["tenant"]) for told in found] == [("store-lost", "default")]
            assert "emptied" in found[0]["text"]
            assert await house.parts.alerts.check() == []
            assert came_from(await house.ask(ALIKE))[0] == "exact"  # what was asked since
    assert "the store has lost data" in caplog.text


async def test_a_store_that_was_set_back_is_noticed_by_each_server() -> None:
    with serving(find_server()) as url:
        client = connect(url)
        one, two = DataLossWatch(client, Counted()), DataLossWatch(client, counts := Counted())
        for _ in range(3):
            assert not await one.check()
            assert not await two.check()
        await command(client, "SET", "cs1:beats", 2)  # as a store restarted from older files
        assert await one.check()
        assert await two.check()
        assert not await one.check()
        assert not await two.check()
        assert counts.sites == ["store-lost"]
        assert two.state().lost_at is not None
        await client.aclose()


@pytest.mark.parametrize(
    ("state", "kinds"),
    [
        (StoreState(), []),
        (StoreState(unsynced_s=9.0), []),
        (StoreState(unsynced_s=11.0), ["store-disk"]),
        (StoreState(failing=True), ["store-disk"]),
        (StoreState(unspilled=True), ["ledger-disk"]),
        (StoreState(lost_at=1_000_000.0), ["store-lost"]),
        (StoreState(lost_at=1_000_000.0 - 90_000), []),
        (StoreState(lost_at=1_000_000.0, failing=True), ["store-lost", "store-disk"]),
    ],
)
def test_what_is_told_of_the_store(state: StoreState, kinds: list[str]) -> None:
    assert [alert.kind for alert in store_alerts("acme", state, 1_000_060.0)] == kinds


def test_a_second_loss_is_told_again_and_the_first_once() -> None:
    first = store_alerts("acme", StoreState(lost_at=1_000_000.0), 1_000_060.0)
    again = store_alerts("acme", StoreState(lost_at=1_000_000.0), 1_030_000.0)
    second = store_alerts("acme", StoreState(lost_at=1_020_000.0), 1_030_000.0)
    assert first[0].id == again[0].id != second[0].id


async def gauge(house: House) -> float:
    page = await house.http.get("/metrics", headers={"x-api-key": ADMIN_KEY})
    (line,) = [at for at in page.text.splitlines() if at.startswith(UNSYNCED)]
    return float(line.removeprefix(UNSYNCED))


async def test_the_age_of_the_oldest_unsynced_write_is_a_gauge_of_the_embedded_store(
    tmp_path: Path,
) -> None:
    async with House.open(tmp_path / "own") as house:
        async with asyncio.timeout(30):
            while await gauge(house) == 0:  # the disk is synced each second, and then it grows
                pass
    with serving(find_server()) as url:
        async with House.open(tmp_path / "other", redis_url=url) as house:
            assert await gauge(house) == 0  # of a Redis elsewhere nothing is known


async def test_the_gauge_grows_until_a_sync_and_begins_again(tmp_path: Path) -> None:
    sync, metrics = AofSync(tmp_path, rewrite=lambda: None, every_s=600), Metrics()
    watch = DataLossWatch(connect("redis://127.0.0.1:9"), metrics, sync=sync)
    metrics.gauges.watch_store(lambda: watch.unsynced_s)

    def shown() -> float:
        (line,) = [at for at in metrics.render().decode().splitlines() if at.startswith(UNSYNCED)]
        return float(line.removeprefix(UNSYNCED))

    assert shown() == 0
    sync.start()
    try:
        ages = [shown() for _ in range(3)]
        assert 0 < ages[0] < ages[1] < ages[2]
        before = time.monotonic()
        sync.round()
        assert shown() <= time.monotonic() - before
    finally:
        sync.stop()
    assert shown() == 0
