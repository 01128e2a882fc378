"""The order of the look-ups: by what this server knows to be stored, and never the outcome."""

from __future__ import annotations

import pytest

from cacheserver.cache.semantic_index.faiss_index import FaissIndex
from cacheserver.cache.store.seen import Seen
from cacheserver.index.vectors import VectorIndex
from cacheserver.storage.connection import command
from tests.house import House


async def reads(house: House) -> int:
    stats = await command(house.parts.host.store.redis, "INFO", "commandstats")
    return int(stats["cmdstat_mget"]["calls"])


async def outcome(house: House, text: str) -> tuple[str, str]:
    answer = await house.ask(text, max_tokens=9_000)
    return answer.headers["x-cache"], answer.headers["x-cache-reason"]


def as_another_server(house: House) -> None:
    """Forget what is stored, as a server that did not store it."""
    house.parts.entries.entries.seen = Seen()
    index = house.parts.entries.index
    assert isinstance(index, FaissIndex)
    index._scopes.vectors = VectorIndex(index.vectors.dim)


def test_a_fingerprint_is_seen_once_it_was_added() -> None:
    seen = Seen()
    assert "f1" not in seen
    for number in range(1_000):
        seen.add(f"f{number}")
    assert all(f"f{number}" in seen for number in range(1_000))
    assert sum(f"g{number}" in seen for number in range(1_000)) < 10


async def test_a_new_question_and_its_neighbours_are_one_read(house: House) -> None:
    await house.ask("How do I reset my password?")
    taken = []
    for end in ("", ", please?", " now?", " again?", " today?"):
        before = await reads(house)
        assert (await house.ask(f"how do I reset my password{end}")).headers["x-cache"] != "exact"
        taken.append(await reads(house) - before)
    assert min(taken) == 1  # more where something else read meanwhile


@pytest.mark.parametrize(
    "text",
    [
        "How do I reset my password?",
        "How do I write 你好 in pinyin?",
        f"Which of {' and '.join(map(str, range(400)))} is even?",
    ],
)
async def test_an_answer_of_another_server_is_found_exactly(house: House, text: str) -> None:
    await outcome(house, "How can I reset my passwords?")
    await outcome(house, text)
    as_another_server(house)
    assert await outcome(house, text) == ("exact", "identical")


async def test_the_exact_answer_goes_before_a_similar_one(house: House) -> None:
    await outcome(house, "How do I reset my password?")
    again = {"cache-control": "no-cache"}
    await house.ask("How do I reset my password please?", headers=again, max_tokens=9_000)
    house.parts.entries.entries.seen = Seen()
    assert await outcome(house, "How do I reset my password please?") == ("exact", "identical")


async def test_an_exact_answer_is_found_while_the_index_fails(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await outcome(house, "How do I reset my password?")
    as_another_server(house)

    def fails(*_: object) -> None:
        raise RuntimeError("FAISS")

    index = house.parts.entries.index
    assert isinstance(index, FaissIndex)
    monkeypatch.setattr(index.vectors, "search", fails)
    assert await outcome(house, "How do I reset my password?") == ("exact", "identical")
    assert await outcome(house, "How do I open an account?") == ("miss", "degraded")
