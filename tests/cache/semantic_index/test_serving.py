"""A server whose vectors are in vector sets, and moves between the two indexes while it serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from cacheserver.cache.store.index_upkeep import view as index_view
from cacheserver.cache.store.index_upkeep.view import IndexView
from cacheserver.core.errors import SettingsError
from cacheserver.storage.key_scan import scan_keys
from tests.cache.semantic_index.contents import names_in
from tests.cache.semantic_index.servers import one_redis8
from tests.hostile.raw import until
from tests.house import ADMIN_KEY, House, came_from
from tests.redis_clusters import cluster

ADMIN = {"x-api-key": ADMIN_KEY}
LANGUAGES = ["French", "German", "Danish", "Polish"]
SETS = "cs1:v"  # begins each key of vector sets
QUESTION, ALIKE = "How do I reset my password?", "how do i reset my password"


@pytest.fixture
def url() -> Iterator[str]:
    with one_redis8() as address:
        yield address


@dataclass(frozen=True)
class Place:
    """Place of the vectors. `keys` returns the keys of vector sets that are there."""

    url: str
    settings: dict[str, Any]
    keys: Callable[[], list[str]]


@pytest.fixture(params=["one", "cluster"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """One Redis 8 for vectors alone, and a cluster that has all that the server stores."""
    if request.param == "one":
        with one_redis8() as url, Redis.from_url(url, decode_responses=True) as client:
            yield Place(url, {}, lambda: client.keys(f"{SETS}*"))
    else:
        with cluster(server="redis8") as nodes:
            shared = {"redis_url": nodes.url, "index_redis_url": None}

            def keys() -> list[str]:
                return [key for node in nodes.primaries() for key in node.run("KEYS", f"{SETS}*")]

            yield Place(nodes.url, shared, keys)


@asynccontextmanager
async def opened(folder: Path, url: str, **settings: Any) -> AsyncIterator[House]:
    settings = {"index": "vector-sets", "index_redis_url": url, **settings}
    async with House.open(folder, **settings) as house:
        yield house


async def index_of(house: House) -> dict[str, Any]:
    stats = (await house.http.get("/admin/v1/stats", headers=ADMIN)).json()
    found: dict[str, Any] = stats["index"]
    return found


async def health_of(house: House) -> dict[str, Any]:
    found = (await house.http.get("/admin/v1/health", headers=ADMIN)).json()
    check: dict[str, Any] = next(one for one in found["checks"] if one["name"] == "index")
    return check


async def kind_becomes(house: House, kind: str) -> None:
    await until(lambda: house.parts.index_move.as_json()["kind"] == kind)
    await until(lambda: house.parts.index_move.as_json()["moving_to"] is None)


async def move(house: House, to: str) -> None:
    got = await house.http.put("/admin/v1/settings", headers=ADMIN, json={"index": to})
    assert got.status_code == 200, got.text
    await kind_becomes(house, to)


async def outcome(house: House, text: str, key: str = "any", **given: Any) -> str:
    return came_from(await house.ask(text, key=key, **given))[0]


async def test_a_similar_question_is_found_in_the_cluster_and_in_no_other_scope(
    tmp_path: Path,
) -> None:
    with cluster(server="redis8") as nodes:
        async with opened(tmp_path, nodes.url) as house:
            acme, other = await house.key("acme"), await house.key("other")
            assert await outcome(house, QUESTION, acme) == "miss"
            assert await outcome(house, ALIKE, acme) == "semantic"
            assert await outcome(house, ALIKE, other) == "miss"
            assert await outcome(house, ALIKE + "?", acme, system="In French.") == "miss"
            assert (await index_of(house))["kind"] == "vector-sets"
            assert (await index_of(house))["vectors"] == 3
            assert (await health_of(house))["status"] == "ok"
            assert not (tmp_path / "index.snapshot").exists()
        async with opened(tmp_path, nodes.url) as house:  # it is there after a restart
            assert house.parts.index_move.as_json()["kind"] == "vector-sets"
            assert len(await names_in(house.parts.entries.index)) == 3
            assert await outcome(house, QUESTION, acme) == "miss"  # another Claude's answer
            assert await outcome(house, ALIKE, acme) == "semantic"


async def test_what_is_purged_or_erased_leaves_the_sets(tmp_path: Path, place: Place) -> None:
    async with opened(tmp_path, place.url, **place.settings) as house:
        key = await house.key("acme")
        for system in (None, *LANGUAGES):  # a scope each, so that a cluster has them on many nodes
            given = {"system": f"In {system}."} if system else {}
            await outcome(house, QUESTION, key, **given)
        await outcome(house, "How do I close my account?", key)
        stored = len(await names_in(house.parts.entries.index))
        assert stored == 2 + len(LANGUAGES)
        await house.parts.entries.entries.purge_tenant("acme")
        assert await outcome(house, ALIKE, key) == "miss"
        left = len(await names_in(house.parts.entries.index))
        assert left <= stored  # the one that was met is gone
        for _ in range(40):  # the others go page by page
            await house.parts.entries.tend()
        assert len(await names_in(house.parts.entries.index)) == 1
        erase = {"namespace": "default"}
        got = await house.http.post("/v1/erase", headers={"x-api-key": key}, json=erase)
        assert got.status_code == 200, got.text
        assert await names_in(house.parts.entries.index) == set()


async def test_an_answer_without_its_vector_is_not_served(tmp_path: Path, url: str) -> None:
    """The cosine is computed from the stored vector: none, no hit."""
    async with opened(tmp_path, url) as house:
        await outcome(house, QUESTION)
        store = house.parts.host.store
        async for keys in scan_keys(store.redis, f"{store.prefix}v:"):
            await store.redis.delete(*keys)
        assert await outcome(house, ALIKE) == "miss"


async def test_an_index_that_is_away_is_a_miss_and_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_view, "_AGREE_S", 0.0)
    with cluster(server="redis8", masters=1, replicas=0) as nodes:
        async with opened(tmp_path, nodes.url, store_wait_s=1.0) as house:
            await outcome(house, QUESTION)
            nodes.kill(nodes.all[0])
            # Stored all the same; what is exact is served.
            other = await house.ask("How do I close my account?")
            assert came_from(other) == ("miss", "degraded")
            assert came_from(await house.ask("How do I close my account?"))[0] == "exact"
            assert came_from(await house.ask(ALIKE)) == ("miss", "degraded")
            found = await health_of(house)
            assert (found["status"], found["found"]) == ("degraded", "it does not answer")
            metrics = (await house.http.get("/metrics", headers=ADMIN)).text
            assert 'site="index"' in metrics
            await asyncio.to_thread(nodes.start, nodes.all[0])  # it kept nothing
            await house.parts.entries.tend()
            assert len(await names_in(house.parts.entries.index)) == 3
            assert await outcome(house, "how do i close my account") == "semantic"
            assert (await health_of(house))["status"] == "ok"


async def test_vectors_move_both_ways_while_the_server_serves(tmp_path: Path, place: Place) -> None:
    async with opened(tmp_path, place.url, index="faiss", **place.settings) as house:
        assert await outcome(house, QUESTION) == "miss"
        for language in LANGUAGES:  # a scope each, so that a cluster has them on several nodes
            assert await outcome(house, QUESTION, system=f"In {language}.") == "miss"
        await house.parts.entries.save()
        assert (tmp_path / "index.snapshot").exists()
        await move(house, "vector-sets")
        assert not (tmp_path / "index.snapshot").exists()
        for language in LANGUAGES:
            assert await outcome(house, ALIKE, system=f"In {language}.") == "semantic"
        assert await outcome(house, ALIKE) == "semantic"
        assert await outcome(house, "How do I close my account?") == "miss"
        assert (await index_of(house))["vectors"] == 2 + len(LANGUAGES)
        assert place.keys()
        names = await names_in(house.parts.entries.index)
        await move(house, "faiss")
        assert await names_in(house.parts.entries.index) == names
        for language in LANGUAGES:
            assert await outcome(house, ALIKE, system=f"In {language}.") in ("semantic", "exact")
        assert await outcome(house, ALIKE + "?") in ("semantic", "exact")
        assert await outcome(house, "how do i close my account") == "semantic"
        [left] = place.keys()
        assert ":vi:" in left  # it ends in a day


async def test_what_is_stored_during_a_move_is_in_both(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    unhindered = IndexView.agree

    async def slowly(self: IndexView, *given: Any, **more: Any) -> None:
        begun.set()
        await go_on.wait()
        await unhindered(self, *given, **more)

    async with opened(tmp_path, place.url, index="faiss", **place.settings) as house:
        await outcome(house, QUESTION)
        monkeypatch.setattr(IndexView, "agree", slowly)
        got = await house.http.put(
            "/admin/v1/settings", headers=ADMIN, json={"index": "vector-sets"}
        )
        assert got.status_code == 200
        await begun.wait()
        found = await index_of(house)
        assert (found["kind"], found["moving_to"], found["total"]) == ("faiss", "vector-sets", 1)
        assert await outcome(house, ALIKE) == "semantic"
        await outcome(house, "How do I close my account?")
        await outcome(house, "Which card has no yearly fee?")
        await house.parts.entries.entries.purge_tenant("default")
        await outcome(house, "How do I close my account?")
        go_on.set()
        await kind_becomes(house, "vector-sets")
        assert await outcome(house, "how do i close my account") == "semantic"
        assert await outcome(house, ALIKE) == "miss"


async def test_sets_that_another_server_still_searches_are_left_to_the_last_one_to_move(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()
    unhindered = IndexView.agree
    store: dict[str, Any] = {"redis_url": url, "index_redis_url": None}
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(opened(tmp_path / "1", url, **store))
        upstream = first.parts.host.settings.upstream
        last = await stack.enter_async_context(
            opened(tmp_path / "2", url, upstream=upstream, **store)
        )
        houses = (first, last)
        await until(lambda: all(one.parts.host.peers.live == 2 for one in houses))

        async def slowly(self: IndexView, *given: Any, **more: Any) -> None:
            if self is last.parts.entries:
                await go_on.wait()
            await unhindered(self, *given, **more)

        assert await outcome(first, QUESTION) == "miss"
        monkeypatch.setattr(IndexView, "agree", slowly)
        await move(first, "faiss")
        assert last.parts.host.settings.index == "faiss"
        assert (await index_of(last))["kind"] == "vector-sets"
        assert await outcome(last, ALIKE) == "semantic"
        prefix = first.parts.host.store.prefix
        redis = first.parts.host.store.redis
        await first.parts.index_move._clean()  # as at a start
        assert await redis.keys(f"{prefix}vs:*")
        [state] = await redis.keys(f"{prefix}vi:*")
        assert await redis.hexists(state, "full")
        go_on.set()
        await kind_becomes(last, "faiss")
        assert await outcome(last, f"{ALIKE}?") == "semantic"
        assert not await redis.keys(f"{prefix}v[szrmk]*")
        assert not await redis.hexists(state, "full")


async def test_a_move_that_was_killed_goes_on_at_the_next_start(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, url, index="faiss") as house:
        for n in range(6):
            await outcome(house, f"{QUESTION} In app number {n}, on my {n}th phone?")
        added = 0
        unhindered = IndexView.index_row

        async def dies(self: IndexView, *given: Any) -> bool:
            nonlocal added
            added += 1
            if added > 3:
                await asyncio.Event().wait()  # until the server is stopped
            return await unhindered(self, *given)

        monkeypatch.setattr(IndexView, "index_row", dies)
        await house.http.put("/admin/v1/settings", headers=ADMIN, json={"index": "vector-sets"})
        await until(lambda: added > 3)
        assert (await index_of(house))["kind"] == "faiss"
    counted = 0

    async def counts(self: IndexView, *given: Any) -> bool:
        nonlocal counted
        counted += 1
        return await unhindered(self, *given)

    monkeypatch.setattr(IndexView, "index_row", counts)
    async with opened(tmp_path, url, index="faiss") as house:  # the live setting stands
        await kind_becomes(house, "vector-sets")
        assert len(await names_in(house.parts.entries.index)) == 6
        assert counted <= 3 + 6  # three were in, and FAISS may be restored without a snapshot


async def test_a_move_that_cannot_be_made_leaves_the_index_as_it_is(tmp_path: Path) -> None:
    async with House.open(tmp_path) as house:  # its store is a Valkey
        await outcome(house, QUESTION)
        await house.http.put("/admin/v1/settings", headers=ADMIN, json={"index": "vector-sets"})
        await until(lambda: house.parts.index_move.as_json()["problem"] is not None)
        assert "no vector sets" in (await index_of(house))["problem"]
        assert "CACHESERVER_INDEX_REDIS_URL" in (await health_of(house))["do"]
        assert await outcome(house, ALIKE) == "semantic"
        await house.http.put("/admin/v1/settings", headers=ADMIN, json={"index": None})
        await until(lambda: house.parts.index_move.as_json()["problem"] is None)


async def test_a_store_without_vector_sets_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"Valkey .*no vector sets"):
        async with House.open(tmp_path, index="vector-sets"):
            pass


async def test_encrypted_vectors_stay_out_of_vector_sets(tmp_path: Path, url: str) -> None:
    key = tmp_path / "key"
    key.write_text("5" * 64)
    key.chmod(0o600)
    with pytest.raises(SettingsError, match=r"CACHESERVER_INDEX.*encrypt"):
        async with opened(tmp_path, url, encryption_key_file=key):
            pass
