"""Readers of other caches, on what the real libraries wrote.

`gptcache.sql` is the dump of the `sqlite.db` that GPTCache 0.1.44 made:

    data = get_data_manager(CacheBase("sqlite", sql_url=...), VectorBase("faiss", dimension=4, ...))
    data.save("How do I return an order?", "By post, within 30 days.", vector)
    data.save("Which cards do you take?", "All but cheques.", vector)
    data.save("Do you ship to Malta?", "Yes.", vector)
    data.save(Question("What is on this picture?", deps=[QuestionDep("image", "cat.png", 0)]),
              "A cat.", vector)
    data.save("Two answers?", ["One.", "Two."], vector)
    data.save("A picture?", Answer("http://x/y.png", DataType.IMAGE_URL), vector)
    data.s.mark_deleted([3])

The hashes are those of RedisVL 0.28: `SemanticCache(name="llmcache").store(prompt, response)`, and
with `metadata` and `filters={"user": "ann"}`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from cacheserver.storage.connection import Connection, command
from cacheserver.transfer.other_caches import NoStore, read_gptcache, read_redisvl
from cacheserver.transfer.records import FaqRecord, Problem

DUMP = Path(__file__).with_name("gptcache.sql")


def store(folder: Path) -> Path:
    with sqlite3.connect(folder / "sqlite.db") as connection:
        connection.executescript(DUMP.read_text())
    connection.close()
    return folder


def test_a_store_of_gptcache_gives_its_questions_and_answers(tmp_path: Path) -> None:
    found = list(read_gptcache(store(tmp_path)))
    assert found == list(read_gptcache(tmp_path / "sqlite.db"))
    assert found == [
        FaqRecord("sqlite.db:question 1", "How do I return an order?", "By post, within 30 days."),
        FaqRecord("sqlite.db:question 2", "Which cards do you take?", "All but cheques."),
        Problem("sqlite.db:question 4", "asks about more than its text, such as an image"),
        FaqRecord("sqlite.db:question 5", "Two answers?", "One."),
        Problem("sqlite.db:question 5", "has several answers; the first is taken"),
        Problem("sqlite.db:question 6", "its answer is no text"),
    ]


def test_what_is_no_store_of_gptcache_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoStore, match=r"no sqlite\.db"):
        list(read_gptcache(tmp_path))
    (tmp_path / "sqlite.db").write_text("not a database, though it is called one")
    with pytest.raises(NoStore, match="is no store"):
        list(read_gptcache(tmp_path))
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(NoStore, match="is no store"):
        list(read_gptcache(tmp_path / "empty.db"))


async def test_a_cache_of_redisvl_gives_what_is_for_all(url: str, redis: Connection) -> None:
    rest = ("entry_id", "3d", "prompt_vector", b"\x00\x80?\xff", "inserted_at", "1796001959.24")
    for id, fields in {
        "a": ("prompt", "How do I return an order?", "response", "By post.", *rest),
        "b": ("prompt", "Which cards?", "response", "All.", "metadata", '{"lang": "en"}', *rest),
        "c": ("prompt", "What is my name?", "response", "Ann.", "user", "ann", *rest),
        "d": ("prompt", "caf\xe9".encode("latin-1"), "response", "x"),
        "e": ("prompt", "No answer?"),
    }.items():
        await command(redis, "HSET", f"ll[m:{id}", *fields)
    await command(redis, "HSET", "llm:x", "prompt", "Another cache's?", "response", "x")
    await command(redis, "SET", "ll[m:text", "no hash")
    found = await asyncio.to_thread(lambda: list(read_redisvl(url, "ll[m")))
    assert sorted(found, key=lambda one: one.where) == [
        FaqRecord("ll[m:a", "How do I return an order?", "By post."),
        FaqRecord("ll[m:b", "Which cards?", "All."),
        Problem("ll[m:c", "is for some alone: it has the filter `user`"),
        Problem("ll[m:d", "is not UTF-8"),
        Problem("ll[m:e", "has no answer"),
    ]


def test_a_store_that_is_away_says_so() -> None:
    with pytest.raises(NoStore, match=r"Redis at 127\.0\.0\.1:1 .*no connection") as away:
        list(read_redisvl("redis://:secret@127.0.0.1:1", "llmcache"))
    assert "secret" not in str(away.value)


async def test_a_password_comes_beside_the_address(url: str, redis: Connection) -> None:
    await command(redis, "HSET", "cache:a", "prompt", "Which cards?", "response", "All.")
    await command(redis, "CONFIG", "SET", "requirepass", "secret")
    try:
        found = await asyncio.to_thread(lambda: list(read_redisvl(url, "cache", password="secret")))
        with pytest.raises(NoStore, match="refused the user or the password"):
            await asyncio.to_thread(lambda: list(read_redisvl(url, "cache")))
    finally:
        await command(redis, "CONFIG", "SET", "requirepass", "")
    assert found == [FaqRecord("cache:a", "Which cards?", "All.")]


def test_an_address_that_is_none_is_refused_and_not_repeated() -> None:
    for wrong in (":secret@localhost", "http://:secret@localhost", "redis://:secret@localhost:x"):
        with pytest.raises(NoStore, match="the address must be") as refused:
            list(read_redisvl(wrong, "cache"))
        assert "secret" not in str(refused.value)
