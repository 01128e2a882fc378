"""Similar questions on several servers: one waits for a call that another server makes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cacheserver.cache.miss.similar_calls import WAIT_S
from cacheserver.peers.flights import ASKING
from cacheserver.simulated import Directives
from cacheserver.simulated.directives import Fault
from tests.house import ADMIN_KEY, House, came_from
from tests.peers.four_servers import kinds, servers, until
from tests.redis_servers import prefix, url

__all__ = ["prefix", "url"]  # fixtures

ASKED = "How do I reset my password?"
SPELLED = "how do i reset my password"


@pytest.fixture(params=["plain", "encrypted"])
async def two(request: pytest.FixtureRequest, url: str, prefix: str, tmp_path: Path) -> Any:
    more: dict[str, Any] = {}
    if request.param == "encrypted":
        more["encryption_key_file"] = tmp_path / "key"
        more["encryption_key_file"].write_text("ab" * 32)
        more["encryption_key_file"].chmod(0o600)
    async with servers(2, url, prefix, tmp_path, **more) as found:
        yield found


def very_slowly(_: object) -> Directives:
    """Let all begin to wait before Claude has answered, and all end before they would give up."""
    return Directives(fault=Fault("slow", delay_s=WAIT_S / 4))


async def heard(house: House) -> None:
    await until(lambda: bool(house.parts.serving.elsewhere._heard))


async def test_a_question_waits_for_a_similar_one_of_another_server(two: list[House]) -> None:
    one, other = two
    first = asyncio.create_task(one.ask(ASKED))
    await heard(other)
    second = await other.ask(SPELLED)
    assert came_from(await first)[0] == "miss"
    assert came_from(second)[0] == "semantic"
    assert len(one.asked) == 1
    await until(lambda: not other.parts.serving.elsewhere._heard)
    redis, store = one.parts.host.store.redis, one.parts.host.store
    await until(lambda: not one.parts.serving.flights._held)
    assert not await redis.keys(f"{store.prefix}fq:*")


async def test_all_who_wait_for_a_question_of_another_server_are_told_of_its_end(
    url: str, prefix: str, tmp_path: Path
) -> None:
    spelled = [SPELLED, SPELLED + "?", SPELLED.title(), "Please, " + SPELLED, SPELLED.upper()]
    async with servers(2, url, prefix, tmp_path, claude=very_slowly) as (one, other):
        first = asyncio.create_task(one.ask(ASKED))
        await heard(other)
        async with asyncio.timeout(WAIT_S):  # they read the question at the same time
            answers = await asyncio.gather(*(other.ask(text) for text in spelled))
        assert kinds([await first, *answers])["miss"] == len(one.asked) == 1


async def test_who_waits_for_a_question_goes_on_though_another_server_takes_its_call_over(
    url: str, prefix: str, tmp_path: Path
) -> None:
    async with servers(2, url, prefix, tmp_path, claude=very_slowly) as (one, other):
        first = asyncio.create_task(one.ask(ASKED))
        await heard(other)
        ((name, scope),) = other.parts.serving.elsewhere._heard.items()
        second = asyncio.create_task(other.ask(SPELLED))
        questions = other.parts.serving.elsewhere._scopes
        await until(lambda: questions[scope][name] is not None)  # it waits for it
        await one.parts.host.peers.everywhere(ASKING, f"{scope} {name}")
        async with asyncio.timeout(WAIT_S / 2):
            assert came_from(await second)[0] == "semantic"
        await first


async def test_a_question_that_is_told_of_again_with_another_scope_leaves_its_first(
    url: str, prefix: str, tmp_path: Path
) -> None:
    async with servers(1, url, prefix, tmp_path) as (one,):
        elsewhere = one.parts.serving.elsewhere
        elsewhere._asking("scope", "name")
        elsewhere._asking("another", "name")
        assert elsewhere.any("another")
        assert not elsewhere.any("scope")
        elsewhere._end("name")
        assert not elsewhere.any("another")


async def test_what_is_told_holds_no_words(two: list[House]) -> None:
    one, other = two
    first = asyncio.create_task(one.ask(ASKED))
    await heard(other)
    store = one.parts.host.store
    stream = await store.redis.execute_command("XRANGE", f"{store.prefix}changes", "-", "+")
    assert b"password" not in repr(stream).encode()
    (key,) = await store.redis.keys(f"{store.prefix}fq:*")
    value = await store.redis.get(key)
    assert isinstance(value, bytes)
    assert (b"password" in value) == (not store.sealer.on)
    assert 0 < await store.redis.pttl(key) <= 3_000
    await first


async def test_vectors_of_another_embedder_are_not_compared(two: list[House]) -> None:
    """As while servers are replaced by ones with another embedder: theirs have other lengths."""
    one, other = two
    one.parts.serving.elsewhere._embedder_id = "another"
    first = asyncio.create_task(one.ask(ASKED))
    await heard(other)
    assert came_from(await other.ask(SPELLED))[0] == "miss"
    assert came_from(await first)[0] == "miss"
    assert len(one.asked) == 2


async def test_tenants_never_wait_for_each_other(two: list[House]) -> None:
    one, other = two
    a, b = await one.key("one"), await one.key("two")
    first = asyncio.create_task(one.ask(ASKED, key=a))
    await heard(other)
    second = await other.ask(SPELLED, key=b)
    assert kinds([await first, second]) == {"miss": 2}


async def test_an_erasure_drops_the_question(two: list[House]) -> None:
    one, other = two
    first = asyncio.create_task(one.ask(ASKED))
    await heard(other)
    erased = await other.http.post(
        "/v1/erase", json={"tenant": "default"}, headers={"x-api-key": ADMIN_KEY}
    )
    assert erased.status_code in (200, 202), erased.text
    store = one.parts.host.store
    assert not await store.redis.keys(f"{store.prefix}fq:*")
    assert not other.parts.serving.elsewhere._heard
    assert came_from(await other.ask(SPELLED))[0] == "miss"
    await first
