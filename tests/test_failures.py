"""What breaks, and what the caller sees of it: an answer, wherever Claude gives one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from cacheserver.embedded.store import EmbeddedStore
from cacheserver.simulated import Fault
from tests.house import ADMIN_KEY, House, came_from
from tests.redis_servers import store

__all__ = ["store"]


async def swallowed(house: House) -> set[str]:
    """The sites at which something failed and nobody was told."""
    page = await house.http.get("/metrics", headers={"x-api-key": ADMIN_KEY})
    lines = [line for line in page.text.splitlines() if line.startswith("cacheserver_swallowed")]
    return {line.split('"')[1] for line in lines if "site=" in line and not line.endswith(" 0.0")}


async def test_without_its_store_the_server_still_answers_once_each(
    tmp_path: Path, store: EmbeddedStore
) -> None:
    url = await store.start()
    async with House.open(tmp_path / "data", redis_url=url) as house:
        assert came_from(await house.ask())[0] == "miss"
        await store.stop()
        assert came_from(await house.ask()) == ("miss", "degraded")
        text = "Slow? [[sim slow=0.5]]"
        answers = await asyncio.gather(*(house.ask(text) for _ in range(4)))
        assert sorted(came_from(a)[0] for a in answers) == ["coalesced"] * 3 + ["miss"]
        assert (await house.http.get("/readyz")).status_code == 503
        assert {"get", "put", "look-again"} <= await swallowed(house)
        refused = await house.http.post("/v1/purge", json={"tag": "x"})
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "api_error")
        await store.start()
        assert came_from(await house.ask("Back again?"))[0] == "miss"
        assert came_from(await house.ask("Back again?"))[0] == "exact"
        assert came_from(await house.ask())[0] == "exact"  # nothing stored was lost


async def test_who_cannot_be_known_is_not_served(tmp_path: Path, store: EmbeddedStore) -> None:
    url = await store.start()
    async with House.open(tmp_path / "data", redis_url=url) as house:
        seen, unseen = await house.key("one"), await house.key("two")
        await house.ask(key=seen)
        await store.stop()
        assert (await house.ask(key=seen)).status_code == 200
        refused = await house.ask(key=unseen)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        await store.start()


async def test_a_claude_that_is_away_is_a_502_in_claudes_shape(tmp_path: Path) -> None:
    async with House.open(tmp_path, upstream="http://127.0.0.1:9") as house:
        refused = await house.ask()
        assert refused.status_code == 502
        assert refused.json()["error"]["type"] == "api_error"
        assert refused.json()["request_id"] == refused.headers["request-id"]
        assert refused.headers["x-should-retry"] == "false"  # it was tried three times
        assert refused.headers["x-cache"] == "miss"


async def test_a_claude_that_does_not_answer_is_a_504(tmp_path: Path) -> None:
    async with House.open(tmp_path, timeout_s=0.2) as house:
        house.upstream.faults.add(Fault("slow", delay_s=30, times=3))
        refused = await house.ask()
        assert (refused.status_code, refused.json()["error"]["type"]) == (504, "timeout_error")


async def test_more_calls_than_we_hold_are_529_at_once(tmp_path: Path) -> None:
    async with House.open(tmp_path, max_concurrent=1, max_waiting=1) as house:
        answers = await asyncio.gather(
            *(house.ask(f"Question {n} [[sim slow=0.5]]") for n in range(5))
        )
        assert sorted(a.status_code for a in answers) == [200, 200, 529, 529, 529]
        full = next(a for a in answers if a.status_code == 529)
        assert full.json()["error"]["type"] == "overloaded_error"


async def test_what_is_too_large_is_413(tmp_path: Path) -> None:
    async with House.open(tmp_path, max_body_bytes=1_000) as house:
        refused = await house.ask("x" * 1_000)
        assert (refused.status_code, refused.json()["error"]["type"]) == (413, "request_too_large")

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * 500

        refused = await house.http.post("/v1/messages", content=chunks())
        assert refused.status_code == 413


async def test_answers_that_take_too_much_room_evict_and_never_the_keys(tmp_path: Path) -> None:
    async with House.open(tmp_path, max_bytes=30_000) as house:
        key = await house.key("one")
        for n in range(30):
            text, apart = f"Question {n}? [[sim words=150]]", {"x-cache-namespace": f"n{n}"}
            answer = await house.ask(text, key=key, max_tokens=1_000, headers=apart)
            assert came_from(answer)[0] == "miss"
        assert await house.parts.entries.entries.used_bytes() <= 30_000
        assert (await house.ask("More?", key=key)).status_code == 200


async def test_a_simulated_answer_says_so_on_every_answer(tmp_path: Path) -> None:
    async with House.open(tmp_path, upstream="simulated") as house:
        for path in ("/v1/stats", "/healthz", "/nowhere"):
            assert (await house.http.get(path)).headers["x-upstream"] == "simulated"
        for _ in range(2):
            assert (await house.ask()).headers["x-upstream"] == "simulated"
