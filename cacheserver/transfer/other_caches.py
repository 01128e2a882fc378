"""Readers of other caches' stores: GPTCache's SQLite file, RedisVL's hashes.

Rules: only questions and answers are taken; vectors are of another embedder, and no store knows
model or system prompt: the import names these. What the other cache would give to some alone (a
filter, such as a user) or only with an image is left out. Nothing is written to the store.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from cacheserver.core.errors import SettingsError
from cacheserver.transfer.records import Found, Problem, record_of

if TYPE_CHECKING:  # the base install has none
    import redis
    from redis import Redis

# Of GPTCache's `SQLStorage`; `gptcache` is its default prefix. `answer_type` 0 is a text; others
# are files. `deleted` rows wait to be swept.
_ROWS: Final = """
SELECT q.id, q.question, a.answer, a.answer_type,
  EXISTS (SELECT 1 FROM gptcache_question_dep d WHERE d.question_id = q.id)
FROM gptcache_question q LEFT JOIN gptcache_answer a ON a.question_id = q.id
WHERE q.deleted = 0 ORDER BY q.id, a.id
"""
_TEXT: Final = 0
_SCAN: Final = 500  # keys of one round trip
# Fields that every entry of RedisVL 0.2 to 0.28 has or may have; others are filters.
_FIELDS: Final = frozenset(
    {"entry_id", "prompt", "response", "prompt_vector", "inserted_at", "updated_at", "metadata"}
)


class NoStore(SettingsError):
    """Raised for a file or server that holds no such cache."""


def read_gptcache(path: Path) -> Iterator[Found]:
    """Yield the records of a `sqlite.db`, or of the folder that has it. Raises `NoStore`."""
    file = path / "sqlite.db" if path.is_dir() else path
    if not file.is_file():
        raise NoStore(f"`{path}`: there is no sqlite.db of GPTCache")
    connection = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)
    try:
        last = None
        for id, question, answer, kind, more in connection.execute(_ROWS):
            where = f"{file.name}:question {id}"
            if more:
                yield Problem(where, "asks about more than its text, such as an image")
            elif id == last:
                yield Problem(where, "has several answers; the first is taken")
            elif kind not in (None, _TEXT):
                yield Problem(where, "its answer is no text")
            else:
                yield record_of({"question": question, "answer": answer}, where)
            last = id
    except sqlite3.Error as error:
        raise NoStore(f"`{file}` is no store of GPTCache: {error}") from error
    finally:
        connection.close()


def read_redisvl(url: str, name: str, *, password: str | None = None) -> Iterator[Found]:
    """Yield the records of a `SemanticCache` of that name. Raises `NoStore`.

    `name` is the cache's, `llmcache` unless it was given another one: its keys are `name:<id>`.
    `password` is for a URL without one.
    """
    import redis

    try:
        with redis.Redis.from_url(url, password=password, socket_timeout=30) as store:
            keys: list[bytes] = []
            for key in store.scan_iter(f"{_escaped(name)}:*", count=_SCAN, _type="hash"):
                keys.append(key)
                if len(keys) == _SCAN:
                    yield from _hashes(store, keys)
                    keys = []
            yield from _hashes(store, keys)
    except ValueError:  # it may quote the URL
        raise NoStore("the address must be like `redis://HOST:6379/0`") from None
    except redis.RedisError as error:
        raise NoStore(f"the Redis at {_place(url)} cannot be read: {_why(error)}") from error


def _place(url: str) -> str:
    """Return host and port of a URL, or the path of a socket; never the password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path


def _why(error: redis.RedisError) -> str:
    import redis

    match error:
        case redis.AuthenticationError():
            return "it refused the user or the password"
        case redis.TimeoutError():
            return "it did not answer in time"
        case redis.ConnectionError():
            return "no connection"
    return type(error).__name__


def _hashes(store: Redis, keys: list[bytes]) -> Iterator[Found]:
    pipeline = store.pipeline(transaction=False)
    for key in keys:
        pipeline.hkeys(key)
        pipeline.hmget(key, ["prompt", "response"])
    found = pipeline.execute()
    for key, names, values in zip(keys, found[::2], found[1::2], strict=True):
        where = key.decode(errors="replace")
        try:
            filters = sorted({name.decode() for name in names} - _FIELDS)
            texts = [None if one is None else one.decode() for one in values]
        except UnicodeDecodeError:
            yield Problem(where, "is not UTF-8")
            continue
        if filters:
            yield Problem(where, f"is for some alone: it has the filter `{filters[0]}`")
        else:
            yield record_of({"question": texts[0], "answer": texts[1]}, where)


def _escaped(name: str) -> str:
    return "".join(f"\\{one}" if one in "*?[]\\^" else one for one in name)
