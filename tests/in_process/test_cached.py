"""Results of functions, kept in the cache: whose they are, what is kept, what is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.client.cached import Calls, Rules
from cacheserver.in_process import SyncCache, open_cache, open_cache_sync
from tests.in_process.test_cache import settings

called: list[Any] = []


def priced(item: str, count: int = 1, *more: str, **options: Any) -> dict[str, Any]:
    called.append(item)
    return {"z": item, "a": [count, *more, options]}


def echo(value: Any) -> Any:
    called.append(value)
    return value


async def echo_async(value: Any) -> Any:
    called.append(value)
    return value


def answered(question: str, language: str = "en") -> str:
    called.append(question)
    return f"{language}: {question}"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncCache]:
    with open_cache_sync(settings(tmp_path_factory.mktemp("cached"), similarity=0.95)) as cache:
        cache.ready()
        yield cache


@pytest.fixture(autouse=True)
def _nothing_called() -> None:
    called.clear()


def test_a_result_is_kept_by_its_arguments_however_they_are_given(cache: SyncCache) -> None:
    price = cache.cached(tags=["prices"])(priced)
    first = price("tea", 2)
    assert price(item="tea", count=2) == first == {"z": "tea", "a": [2, {}]}
    assert list(price("tea", 2)) == ["z", "a"]  # in its order
    assert called == ["tea"]
    for other in (("tea",), ("tea", 3), ("tea", 2, "x"), ("tea", 2, "x", "y")):
        price(*other)
    price("tea", 2, sugar=True)
    price("tea", 2, sugar=1)
    assert len(called) == 7
    assert cache.purge(tag="prices") == 7
    price("tea", 2)
    assert len(called) == 8


@pytest.mark.parametrize("value", ["text", "", 0, False, [], {"a": [1, 2.5, None, "ü"]}])
def test_results_come_back_as_they_were(cache: SyncCache, value: Any) -> None:
    kept = cache.cached(name="as-they-were")(echo)
    assert [kept(value), kept(value)] == [value, value]
    assert type(kept(value)) is type(value)
    assert called == [value]


def test_none_is_kept_only_if_asked_for_and_an_exception_never(cache: SyncCache) -> None:
    plain, kept = cache.cached(name="none-1")(echo), cache.cached(name="none-2", none=True)(echo)
    plain(None), plain(None), kept(None), kept(None)
    assert len(called) == 3

    @cache.cached(name="raises")
    def fails() -> str:
        called.append("failed")
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            fails()
    assert called[3:] == ["failed", "failed"]


def test_what_is_not_json_is_refused_by_name(cache: SyncCache) -> None:
    kept = cache.cached()(echo)
    for wrong in ((1, 2), {1: "a"}, {1, 2}, b"x", float("nan"), object(), "\ud800", [(1,)]):
        with pytest.raises(TypeError, match="the argument `value` is not JSON"):
            kept(wrong)
    assert called == []

    @cache.cached(name="tuple")
    def pair() -> tuple[int, int]:
        return 1, 2

    with pytest.raises(TypeError, match="the result of tuple is not JSON"):
        pair()


def test_mistakes_are_refused_where_they_are_made(cache: SyncCache) -> None:
    with pytest.raises(TypeError, match="`tags` must be a list"):
        cache.cached(tags="prices")(echo)
    with pytest.raises(TypeError, match="has no argument `qestion`"):
        cache.cached(semantic="qestion")(answered)
    with pytest.raises(ValueError, match="`ttl`"):
        cache.cached(ttl=0)(echo)
    with pytest.raises(TypeError, match="async def"):
        cache.cached()(echo_async)

    def outer(rate: float) -> Callable[[float], float]:
        return lambda amount: amount * rate

    with pytest.raises(TypeError, match="uses `rate` of the function around it"):
        cache.cached()(outer(2))
    with pytest.raises(TypeError, match="must be a text"):
        cache.cached(semantic="question")(answered)(question=5)  # type: ignore[arg-type]


def test_a_changed_function_is_called_again() -> None:
    def calls(source: str) -> Calls:
        space: dict[str, Any] = {"__name__": "shop"}
        exec(compile(source, "shop.py", "exec"), space)
        return Calls(space["f"], Rules())

    names = [
        calls(source).name
        for source in (
            "def f(x): return x + 1",
            "\n\n# moved\ndef f(x): return x + 1",
            "def f(x): return x + 2",
            "def f(x): return x - 1",
            "def f(x): return [y for y in x if y in {1, 2}]",
            "def f(x): return [y for y in x if y in {1, 3}]",
        )
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 5


def test_functions_of_two_scripts_share_no_results(tmp_path: Path) -> None:
    source = (
        "from cacheserver.client.cached import Calls, Rules\n"
        "def f(x): return helper(x)\n"
        "print(Calls(f, Rules()).name)\n"
    )
    names = []
    for place in ("one.py", "two.py", "one.py"):
        (tmp_path / place).write_text(source)
        done = subprocess.run(
            [sys.executable, place], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        names.append(done.stdout)
    assert names[0] == names[2] != names[1]
    assert "one.py" in names[0]


def test_similar_questions_share_a_result_where_that_is_asked_for(cache: SyncCache) -> None:
    exact, similar = cache.cached()(answered), cache.cached(semantic="question")(answered)
    asked = "What is the capital of France?", "What's the capital of France?"
    assert [exact(q) for q in asked] == [f"en: {q}" for q in asked]
    assert [similar(q) for q in asked] == [f"en: {asked[0]}"] * 2
    assert similar(asked[1], language="fr") == f"fr: {asked[1]}"
    assert len(called) == 4


def test_a_lifetime_is_granted(cache: SyncCache) -> None:
    cache.cached(name="lives", ttl=timedelta(minutes=5), tags=["lives"])(echo)("x")
    http = cache._http
    entries = http.get("http://x/admin/v1/entries", params={"tenant": "default", "tag": "lives"})
    (entry,) = entries.json()["items"]
    assert 0 < entry["expires_at"] - entry["created_at"] <= 300


async def test_coroutines_and_a_cache_that_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_cache(settings(tmp_path)) as cache:
        kept = cache.cached()(echo_async)
        assert [await kept("secret"), await kept("secret")] == ["secret", "secret"]
        assert called == ["secret"]
        with pytest.raises(TypeError, match="a `def`"):
            cache.cached()(echo)
        store = cache._opened.parts.host.store.redis
        await asyncio.gather(store.execute_command("SHUTDOWN"), return_exceptions=True)
        assert await kept("secret") == "secret"
    assert "secret" not in caplog.text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(json_values, json_values)
def test_two_calls_are_one_question_only_with_the_same_arguments(one: Any, two: Any) -> None:
    calls = Calls(echo, Rules())
    try:
        same = calls.question((one,), {}) == calls.question((two,), {})
    except TypeError:  # a lone surrogate, an infinity
        return
    assert same == (repr(_sorted(one)) == repr(_sorted(two)))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value
