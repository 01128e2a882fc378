"""A change of the embedder with questions in the store, on every engine at hand."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cacheserver.cache.store import reembedding
from cacheserver.cache.store.embedder_state import EmbedderState, EmbedderStates, state_for
from cacheserver.core.errors import SettingsError
from cacheserver.core.types import FIRST_EMBEDDER, Entry, Near, Query
from cacheserver.index.errors import EmbedderFailed
from cacheserver.storage.connection import Connection, command
from tests.cache.entries import entry
from tests.cache.queries import query
from tests.cache.store.embedders import NEW, OLD, UNREADABLE, Digests, Server, serving

pytestmark = pytest.mark.usefixtures("redis")


def stored(number: int, **changes: Any) -> Entry:
    given = {"text": f"what is {number}", "scope": f"s{number % 3}", **changes}
    return entry(f"f{number}", **given)


async def fill(server: Server, *entries: Entry) -> None:
    for one in entries:
        assert await server.semantic.put(one, keep_s=0, asked_at=time.time())


async def embedders_of(server: Server) -> dict[str, set[str]]:
    """The embedders that each stored question has a vector of."""
    return {
        row.entry_id: {name for name, vector in row.vectors.items() if vector}
        async for row in server.semantic.entries.vectors.scan()
    }


def asked(number: int, scope: str | None = None) -> Query:
    return replace(query(), text=f"what is {number}", scope=scope or f"s{number % 3}")


async def near(server: Server, number: int, tenant: str = "acme") -> Near:
    one = asked(number)
    of_tenant = replace(one, tenant=replace(one.tenant, name=tenant))
    return await server.semantic.near(of_tenant, 3)


async def test_all_questions_get_the_new_vector_and_exact_hits_go_on(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    many = [stored(n) for n in range(30)]
    async with serving(redis, prefix, tmp_path, Digests(OLD)) as old:
        await fill(old, *many)
        assert (await near(old, 7)).candidates[0].similarity > 0.99
    async with serving(redis, prefix, tmp_path, Digests(NEW)) as new:
        assert len(new.semantic.index) == 0
        assert (await near(new, 7)).skipped == "warming"
        assert await new.semantic.get("f7") == many[7]
        assert new.work.as_json()["changing"]
        await new.finish()
        assert len(new.semantic.index) == len(many)
        found = (await near(new, 7)).candidates
        assert found[0].entry == many[7]
        assert found[0].similarity > 0.99
        assert set(map(frozenset, (await embedders_of(new)).values())) == {frozenset((OLD, NEW))}
        shown = new.work.as_json()
        assert (shown["changing"], shown["embedded"], shown["left"]) == (False, 30, 0)
        assert shown["previous"] == OLD
        assert new.counts.left[-1] == 0
        assert (await near(new, 900)).skipped is None


async def test_vectors_of_two_embedders_are_never_compared(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    """Both have the same number of dimensions."""
    async with serving(redis, prefix, tmp_path, Digests(OLD)) as old:
        await fill(old, stored(1))
    async with serving(redis, prefix, tmp_path, Digests(NEW)) as new:
        await fill(new, stored(4))
        found = (await near(new, 1)).candidates
        assert [one.entry.fingerprint for one in found] == ["f4"]
        await new.finish()
        ids = {one.entry.fingerprint: one.similarity for one in (await near(new, 1)).candidates}
        embed = Digests(NEW).embed
        expected = float(embed(["what is 1"])[0] @ embed(["what is 4"])[0])
        assert ids["f1"] > 0.99
        assert ids["f4"] == pytest.approx(expected, abs=0.01)


async def test_a_killed_change_goes_on_where_it_was(
    redis: Connection, url: str, prefix: str, tmp_path: Path
) -> None:
    many = [stored(n, tenant=f"t{n % 2}") for n in range(60)]
    async with serving(redis, prefix, tmp_path, Digests(OLD)) as old:
        await fill(old, *many)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.cache.store.embedders", url, prefix, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    for _ in range(20):
        assert await process.stdout.readline()
    process.kill()
    await process.wait()
    async with serving(redis, prefix, tmp_path, Digests(NEW)) as new:
        done = len(new.semantic.index)
        assert 15 <= done < 60
        await new.finish()
        assert len(new.embedder.texts) == 60 - done
        assert len(new.semantic.index) == 60
    async with serving(redis, prefix, tmp_path, Digests(NEW)) as again:
        await again.finish()
        assert again.embedder.texts == []
        assert not again.work.as_json()["changing"]


async def test_going_back_embeds_nothing_again(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    async with serving(redis, prefix, tmp_path, Digests(OLD)) as old:
        await fill(old, *map(stored, range(12)))
    async with serving(redis, prefix, tmp_path, Digests(NEW)) as new:
        await new.finish()
        await fill(new, stored(50))
    async with serving(redis, prefix, tmp_path, Digests(OLD)) as back:
        assert len(back.semantic.index) == 12
        await back.finish()
        assert back.embedder.texts == ["what is 50"]
        assert len(back.semantic.index) == 13
        assert (await near(back, 7)).candidates[0].similarity > 0.99


async def test_old_vectors_go_a_week_after_the_change(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    life = {"expires_at": time.time() + 30 * 86_400}
    async with serving(redis, prefix, tmp_path, Digests(OLD)) as old:
        await fill(old, *[stored(n, **life) for n in range(5)])
    async with serving(redis, prefix, tmp_path, Digests(NEW)) as new:
        await new.finish()
        both = await new.semantic.entries.used_bytes()
        await new.finish()
        assert await new.semantic.entries.used_bytes() == both
    later = reembedding.KEPT_S + 60
    async with serving(redis, prefix, tmp_path, Digests(NEW), ahead_s=later) as new:
        await new.finish()
        assert set(map(frozenset, (await embedders_of(new)).values())) == {frozenset((NEW,))}
        assert await new.semantic.entries.used_bytes() < both
        assert new.work.as_json()["previous"] is None


async def test_what_is_purged_replaced_or_over_meanwhile_stays_so(
    redis: Connection, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(redis, prefix, tmp_path, Digests(OLD)) as old:
        await fill(old, stored(0, tenant="a"), stored(3, tenant="b"), stored(6, tenant="b"))
        await fill(old, stored(9, expires_at=time.time() + 1.0))
    async with serving(redis, prefix, tmp_path, Digests(NEW)) as new:
        vectors = new.semantic.entries.vectors
        replacement = stored(6, tenant="b")
        unhindered = vectors.replace

        async def meanwhile(*row: Any) -> bool:
            await new.semantic.entries.purge_tenant("a")
            if not len(new.semantic.index):
                await fill(new, replacement)
            return await unhindered(*row)

        monkeypatch.setattr(vectors, "replace", meanwhile)
        while await new.semantic.entries.get("f9") is not None:
            pass
        await new.finish()
        left = set(await embedders_of(new))
        assert len(left) == 2
        assert replacement.id in left
        assert await new.semantic.entries.get("f0") is None
        live = {one.entry.fingerprint for one in (await near(new, 0, "b")).candidates}
        assert live == {"f3", "f6"}
        await new.semantic.entries.purge_tenant("b")
        await new.semantic.entries.upkeep()
        assert await new.semantic.entries.used_bytes() == 0
        assert not [key async for key in redis.scan_iter(match=f"{prefix}v:*")]


async def test_what_the_new_embedder_cannot_read_is_tried_once(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    async with serving(redis, prefix, tmp_path, Digests(OLD)) as old:
        await fill(old, stored(1), stored(2, text=f"what is {UNREADABLE}"))
        # One that the old embedder could not read has no row.
        assert await old.semantic.put_vector(stored(4), None, keep_s=0, asked_at=time.time())
        assert await old.semantic.put_vector(
            stored(5, text=None), None, keep_s=0, asked_at=time.time()
        )
    async with serving(redis, prefix, tmp_path, Digests(NEW)) as new:
        await new.finish()
        assert sorted(new.embedder.texts) == ["what is 1", "what is 4"]
        assert new.work.as_json()["unreadable"] == 1
    async with serving(redis, prefix, tmp_path, Digests(NEW)) as again:
        assert again.semantic.lacking == 0


async def test_a_question_that_could_not_be_embedded_is_once_the_embedder_is_back(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    """Also after a restart, and only such questions: neither exact-only nor unreadable ones."""
    async with serving(redis, prefix, tmp_path, Digests(NEW)) as server:
        await fill(server, stored(1), stored(2, text=f"what is {UNREADABLE}"))
        await fill(server, stored(3, text=None))
        server.embedder.away = True
        await fill(server, stored(4), *map(stored, range(20, 50)))
        assert await server.semantic.get("f4") is not None
        assert (await near(server, 4)).skipped == "embedder"
        with pytest.raises(EmbedderFailed):
            await server.finish()
        assert server.work.as_json()["lacking"] == 31
    async with serving(redis, prefix, tmp_path, Digests(NEW)) as server:
        assert server.semantic.lacking == 31
        await server.finish()
        assert server.work.as_json()["lacking"] == 0
        expected = {f"what is {n}" for n in (4, *range(20, 50))}
        assert server.work.as_json()["unreadable"] == 0
        assert set(server.embedder.texts) == expected
        assert (await near(server, 4)).candidates[0].similarity > 0.99
        await server.finish()
        assert len(server.embedder.texts) == 31 + 1


async def test_a_change_without_room_is_refused_before_anything_is_written(
    redis: Connection, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(redis, prefix, tmp_path, Digests(OLD)) as old:
        await fill(old, *map(stored, range(20)))
    monkeypatch.setattr(reembedding, "_free_bytes", lambda folder: 1_000)
    with pytest.raises(SettingsError, match=r"`CACHESERVER_DATA_DIR`.*1,000 are free"):
        async with serving(redis, prefix, tmp_path, Digests(NEW)):
            pass
    monkeypatch.undo()
    await command(redis, "CONFIG", "SET", "maxmemory", 1_000_000)
    try:
        with pytest.raises(SettingsError, match="`CACHESERVER_REDIS_URL`"):
            async with serving(redis, prefix, tmp_path, Digests(NEW)):
                pass
    finally:
        await command(redis, "CONFIG", "SET", "maxmemory", 0)
    assert (await EmbedderStates(redis, prefix=prefix).read() or EmbedderState("")).id == OLD
    async with serving(redis, prefix, tmp_path, Digests(NEW)) as new:
        await new.finish()
        assert len(new.semantic.index) == 20


async def test_a_full_store_evicts_answers_for_the_new_vectors(
    redis: Connection, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the disk of this machine says nothing of a Redis on another."""
    async with serving(redis, prefix, tmp_path, Digests(OLD)) as old:
        await fill(old, *map(stored, range(20)))
        used = await old.semantic.entries.used_bytes()
    monkeypatch.setattr(reembedding, "_free_bytes", lambda folder: 0)
    full: dict[str, Any] = {"max_bytes": used, "is_local": False}
    async with serving(redis, prefix, tmp_path, Digests(NEW), **full) as new:
        await new.finish()
        await new.semantic.entries.upkeep()
        assert 0 < await new.semantic.entries.used_bytes() <= used
        kept = await embedders_of(new)
        assert 10 < len(kept) < 20
        assert set(map(frozenset, kept.values())) == {frozenset((OLD, NEW))}


async def test_the_size_counts_the_added_vectors(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    async with serving(redis, prefix, tmp_path, Digests(OLD)) as old:
        await fill(old, stored(1))
        before = await old.semantic.entries.used_bytes()
    async with serving(redis, prefix, tmp_path, Digests(NEW)) as new:
        await new.finish()
        added = await new.semantic.entries.used_bytes() - before
        assert 2 * new.embedder.dim < added < 2 * new.embedder.dim + 100


async def test_the_other_servers_vectors_are_taken_over(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    async with serving(redis, prefix, tmp_path, Digests(OLD)) as old:
        await fill(old, *map(stored, range(9)))
    async with (
        serving(redis, prefix, one, Digests(NEW)) as first,
        serving(redis, prefix, other, Digests(NEW)) as second,
    ):
        await first.finish()
        await second.finish()
        assert second.embedder.texts == []
        assert len(second.semantic.index) == 9


async def test_servers_with_different_embedders_share_a_store_and_no_vector(
    redis: Connection, prefix: str, tmp_path: Path
) -> None:
    """The older one embeds what it lacked, and leaves the newer one's vectors and state alone."""
    async with (
        serving(redis, prefix, tmp_path / "one", Digests(OLD)) as older,
        serving(redis, prefix, tmp_path / "other", Digests(NEW)) as newer,
    ):
        await fill(older, stored(1))
        await fill(newer, stored(4))
        for server, own in ((older, "f1"), (newer, "f4")):
            found = (await near(server, 1)).candidates
            assert [one.entry.fingerprint for one in found] == [own]
        older.embedder.away = True
        await fill(older, stored(7))
        older.embedder.away = False
        await newer.finish()
        await older.finish()
        both = set(map(frozenset, (await embedders_of(newer)).values()))
        assert both == {frozenset((OLD, NEW))}
        for server in (older, newer):
            found = (await near(server, 7)).candidates
            assert {one.entry.fingerprint for one in found} == {"f1", "f4", "f7"}
            assert found[0].similarity > 0.99
        assert (await EmbedderStates(redis, prefix=prefix).read() or EmbedderState("")).id == NEW


@pytest.mark.parametrize(
    ("stored_state", "questions", "expected"),
    [
        (None, 0, EmbedderState(NEW, since=5.0, finished=5.0)),
        (None, 3, EmbedderState(NEW, previous=FIRST_EMBEDDER, since=5.0)),
        (EmbedderState(NEW, OLD, 1.0), 3, EmbedderState(NEW, OLD, 1.0)),
        (EmbedderState(NEW, None, 1.0, 2.0), 3, EmbedderState(NEW, None, 1.0, 2.0)),
        (EmbedderState(OLD, NEW, 1.0, 2.0), 3, EmbedderState(NEW, OLD, 5.0)),
    ],
)
def test_a_change_begins_where_the_store_has_another_embedder(
    stored_state: EmbedderState | None, questions: int, expected: EmbedderState
) -> None:
    assert state_for(NEW, stored_state, questions, 5.0) == expected


def test_the_vectors_of_a_store_that_names_none_are_of_the_first_embedder() -> None:
    assert state_for(FIRST_EMBEDDER, None, 3, 5.0).finished is not None


async def test_requests_come_first(redis: Connection, prefix: str, tmp_path: Path) -> None:
    async with serving(redis, prefix, tmp_path, Digests(OLD)) as old:
        await fill(old, *map(stored, range(6)))
    async with serving(redis, prefix, tmp_path, Digests(NEW)) as new:
        asked_first = [new.semantic.vector(f"asked {n}") for n in range(20)]
        work = asyncio.gather(*asked_first)
        await asyncio.sleep(0)
        await new.finish()
        await work
        assert new.embedder.texts[:20] == [f"asked {n}" for n in range(20)]
        assert all(np.isfinite(one).all() for one in await work if one is not None)
