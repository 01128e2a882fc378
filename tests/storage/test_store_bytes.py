"""The store as a whole: its size by kind, its texts for a day at most, its end where it is full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import zstandard

from cacheserver.backup import key_copy
from cacheserver.cache.store.decision_scripts import DECISION_S
from cacheserver.embedded.process import find_server
from cacheserver.ledger.retention import LedgerRetention
from cacheserver.storage.connection import Connection, command, connect
from tests.house import ADMIN_KEY, House, came_from
from tests.redis_servers import serving

SECRET = "zanzibarquokka"
ADMIN = {"x-api-key": ADMIN_KEY}


def redis_of(house: House) -> Connection:
    return house.parts.ledger.redis


async def settled(house: House) -> None:
    await house.parts.ledger.flush()
    await house.parts.decision_log.flush()


async def holding(redis: Connection, text: bytes) -> set[str]:
    """The kinds of keys under which a text stands."""
    found = set()
    async for words in key_copy.read_keys(redis, "cs1:"):
        if any(isinstance(word, bytes) and text in word for word in words[1:]):
            key = words[1]
            assert isinstance(key, bytes)
            found.add(key.decode().split(":")[1])
    return found


async def test_texts_live_a_day_beside_the_answers_and_are_in_no_row_and_no_file(
    tmp_path: Path,
) -> None:
    async with House.open(tmp_path) as house:
        tags = {"x-cache-tags": "team-a", "x-cache-task": "support"}
        for text in (f"Where is {SECRET}?", f"Where is {SECRET}?", f"where is {SECRET} ?"):
            for given in ({}, {"stream": True}, {"system": f"Be {SECRET}.", "headers": tags}):
                assert (await house.ask(text, **given)).status_code == 200
        await house.ask(f"Now of {SECRET}?", headers={"cache-control": "no-store"})
        await house.ask(f"[[sim error=500]] {SECRET}")
        await settled(house)
        redis = redis_of(house)
        assert await holding(redis, SECRET.encode()) <= {"e", "d"}
        decisions = await command(redis, "KEYS", "cs1:d:*")
        assert len(decisions) == 11
        for key in decisions:
            assert 0 < await command(redis, "TTL", key) <= DECISION_S
        folder = tmp_path / "ledger"
        keeper = LedgerRetention(redis, prefix="cs1:", folder=folder, max_bytes=1)
        assert await keeper.enforce(house.clock()) == 11
        (file,) = folder.iterdir()
        with zstandard.open(file, "rb") as lines:
            text = lines.read()
        assert text.count(b"\n") == 11
        assert b'"task":"support"' in text
        assert SECRET.encode() not in text.lower()


async def test_every_kind_is_shown_with_its_bound(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_decision_bytes": 9_000, "max_label_bytes": None}
    async with House.open(tmp_path, **settings) as house:
        for n in range(30):
            await house.ask(f"Question {n}?")
        await settled(house)
        await house.parts.gauge_sampler.sample()
        shown = (await house.http.get("/admin/v1/stats", headers=ADMIN)).json()["store"]
        assert list(shown) == ["answers", "decisions", "ledger", "jobs", "labels"]
        assert 7_000 < shown["decisions"]["bytes"] <= shown["decisions"]["limit_bytes"] == 9_000
        assert shown["ledger"]["bytes"] > 30 * 150
        assert shown["labels"]["limit_bytes"] is None
        page = (await house.http.get("/metrics", headers=ADMIN)).text
        for kind, size in shown.items():
            assert f'cacheserver_store_bytes{{kind="{kind}"}} {float(size["bytes"])}' in page
        assert 'cacheserver_store_limit_bytes{kind="labels"} +Inf' in page
        assert house.parts.decision_log.crowded_out > 20


async def test_a_full_store_costs_hits_and_no_answer_and_loses_no_row(tmp_path: Path) -> None:
    with serving(find_server(), "enable-debug-command yes") as url:
        async with House.open(tmp_path, redis_url=url) as house:
            assert came_from(await house.ask("Kept?"))[0] == "miss"
            await settled(house)
            client = connect(url)
            await command(client, "CONFIG", "SET", "maxmemory", "1mb")  # less than it has
            for n in range(3):
                answer = await house.ask(f"Full {n}?")
                assert (answer.status_code, came_from(answer)[0]) == (200, "miss")
                stream = await house.ask(f"Full {n}?", stream=True)
                assert (stream.status_code, stream.text.count("message_stop")) == (200, 2)
            assert came_from(await house.ask("Kept?"))[0] == "exact"
            assert (await house.http.get("/readyz")).json()["store"] == "away"  # takes no writes
            assert house.parts.ledger.waiting == 7
            await command(client, "CONFIG", "SET", "maxmemory", "0")
            await settled(house)
            assert int(await command(client, "GET", "cs1:lrn")) == 8
            assert house.parts.ledger.overflowed == 0
            await client.aclose()


def test_spilling_and_reading_files_needs_no_pyarrow() -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None; "
        "from cacheserver.ledger import export, parquet, retention"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
