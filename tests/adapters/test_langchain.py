"""LangChain's cache over a whole server: LangChain's own suites, and models that are asked."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_tests.integration_tests import AsyncCacheTestSuite, SyncCacheTestSuite

from cacheserver.adapters import generations, prompts
from cacheserver.adapters.langchain import CacheServerCache
from cacheserver.api.resources.own_answers import OwnAnswer
from cacheserver.client import AsyncClient, Client, ClientError
from tests.house import House

Served = tuple[House, str, str]
Make = Callable[..., CacheServerCache]


@pytest.fixture
def make(served: Served) -> Iterator[Make]:
    """Make a cache with a namespace of the test, for a key that may store."""
    house, writer, _ = served
    namespace = f"ns-{secrets.token_hex(8)}"
    with Client(house.url, key=writer, max_retries=0) as client:
        yield lambda **given: CacheServerCache(client, **{"namespace": namespace, **given})


class TestSync(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, make: Make) -> CacheServerCache:
        return make()


class TestAsync(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, make: Make, served: Served) -> AsyncIterator[CacheServerCache]:
        async with AsyncClient(served[0].url, key=served[1]) as client:
            yield make(async_client=client)


class TestAsyncInAThread(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, make: Make) -> CacheServerCache:
        return make()


class Model(GenericFakeChatModel):
    """Says one answer after the other, so that a repeated one came from the cache."""

    name: str | None = "model-a"

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self.bind(tools=tools)


def model(cache: CacheServerCache, *answers: AIMessage | str, name: str = "model-a") -> Model:
    return Model(messages=iter(answers), cache=cache, name=name)


QUESTION, REWORDED = "How long do refunds take?", "How long does a refund take?"


def test_an_equal_prompt_is_answered_once_and_nothing_else_shares_it(make: Make) -> None:
    cache = make()
    asked = model(cache, "1", "2", "3", "4", "5", "6", "7", "8")
    assert [asked.invoke(QUESTION).content for _ in "ab"] == ["1", "1"]
    assert asked.invoke(REWORDED).content == "2"
    assert asked.invoke([SystemMessage("Be brief."), HumanMessage(QUESTION)]).content == "3"
    assert asked.invoke(QUESTION, stop=["x"]).content == "4"
    assert asked.bind_tools([{"name": "f"}]).invoke(QUESTION).content == "5"
    history = [HumanMessage("Hi"), AIMessage("Hello"), HumanMessage(QUESTION)]
    assert asked.invoke(history).content == "6"
    assert model(make(namespace="other"), "7").invoke(QUESTION).content == "7"
    assert asked.invoke(QUESTION).content == "1"
    assert cache.failures == 0


def test_a_reworded_question_is_answered_only_where_that_was_asked_for(make: Make) -> None:
    cache = make(semantic=True)
    asked = model(cache, "1", "2", "3", "4", "5")
    brief = SystemMessage("Be brief.")
    assert asked.invoke([brief, HumanMessage(QUESTION)]).content == "1"
    assert asked.invoke([brief, HumanMessage(REWORDED)]).content == "1"
    blocks: list[str | dict[Any, Any]] = [{"type": "text", "text": QUESTION}]
    assert asked.invoke([brief, HumanMessage(blocks)]).content == "2"
    assert asked.invoke([SystemMessage("Be long."), HumanMessage(REWORDED)]).content == "3"
    with_tools = asked.bind_tools([{"name": "f"}])
    assert with_tools.invoke([brief, HumanMessage(QUESTION)]).content == "4"
    assert with_tools.invoke([brief, HumanMessage(REWORDED)]).content == "5"
    assert cache.failures == 0


def test_plain_prompts_are_compared_whole(make: Make) -> None:
    cache = make(semantic=True)
    said = [Generation(text="Five days.")]
    cache.update(QUESTION, "llm", said)
    assert cache.lookup(REWORDED, "llm") == said
    assert cache.lookup(REWORDED, "another llm") is None
    for prompt in ("", " ", "[]", "(no text)"):
        assert cache.lookup(prompt, "llm") is None
    cache.update(" ", "llm", said)
    assert cache.lookup(" ", "llm") == said
    assert cache.lookup("(no text)", "llm") is None
    assert cache.failures == 0


@pytest.mark.parametrize("semantic", [True, False])
def test_any_string_is_a_prompt(semantic: bool) -> None:
    odd = [
        "",
        "{}",
        "[1]",
        "[" * 100_000,
        "\ud800",
        '[{"lc": 1, "id": [{}], "kwargs": {"content": "x"}}]',
    ]
    scopes = {prompts.question(one, "llm", semantic=semantic) for one in [*odd, "plain"]}
    assert len(scopes) == len(odd) + 1


def message(content: Any, **given: Any) -> AIMessage:
    given = {"response_metadata": {"stop_reason": "end_turn"}, **given}
    return AIMessage(content, **given)


@pytest.mark.parametrize(
    "said",
    [
        message("é \u2028 \x00",
                usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
        message([{"type": "thinking", "thinking": "?", "signature": "s"},
                 {"type": "text", "text": "Hi"}]),
        message([{"type": "tool_use", "id": "t", "name": "f", "input": {}}],
                tool_calls=[{"name": "f", "args": {"a": 1}, "id": "t"}]),
    ],
)  # fmt: skip
def test_a_message_comes_back_as_it_was(make: Make, said: AIMessage) -> None:
    cache, given = make(), [ChatGeneration(message=said, generation_info={"a": [1]})]
    cache.update("prompt", "llm", given)
    assert cache.lookup("prompt", "llm") == given
    assert cache.failures == 0


@pytest.mark.parametrize(
    "thought",
    [
        {"type": "thinking", "thinking": "?", "signature": "s"},
        {"type": "reasoning", "reasoning": "?"},
    ],
)
def test_thinking_is_not_shared_with_another_question(make: Make, thought: dict[str, str]) -> None:
    cache = make(semantic=True)
    said = message([thought, {"type": "text", "text": "Five days."}])
    cache.update(QUESTION, "llm", [ChatGeneration(message=said)])
    (exact,) = cache.lookup(QUESTION, "llm") or ()
    (similar,) = cache.lookup(REWORDED, "llm") or ()
    assert isinstance(exact, ChatGeneration)
    assert isinstance(similar, ChatGeneration)
    assert thought in exact.message.content
    assert similar.message.content == [{"type": "text", "text": "Five days."}]
    assert similar.text == "Five days."


@pytest.mark.parametrize(
    "said",
    [
        message("cut", response_metadata={"stop_reason": "max_tokens"}),
        message("no", response_metadata={"stop_reason": "refusal"}),
        message([{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}]),
        message([{"type": "server_tool_call", "id": "s", "name": "web_search", "args": {}}]),
    ],
)
def test_what_another_caller_must_not_get_is_not_stored(make: Make, said: AIMessage) -> None:
    cache = make()
    cache.update("prompt", "llm", [ChatGeneration(message=said)])
    assert cache.lookup("prompt", "llm") is None
    assert cache.failures == 0


@pytest.mark.parametrize(
    "said", [Generation(text="x" * 100_001), Generation(text="x", generation_info={"a": object()})]
)
def test_what_cannot_be_stored_is_counted_and_not_logged(
    make: Make, said: Generation, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make()
    cache.update("prompt", "llm", [said])
    assert (cache.lookup("prompt", "llm"), cache.failures) == (None, 1)
    assert len(caplog.text) < 300


def test_the_longest_answer_is_as_long_as_the_server_takes() -> None:
    answer = OwnAnswer.model_json_schema()["properties"]["answer"]
    assert answer["maxLength"] == generations.MOST_CHARS


def test_a_cache_that_fails_is_a_miss(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    house, _, reader = served
    gone = "http://127.0.0.1:9"  # discard: nothing listens
    for url, key, failures in (
        (gone, reader, 4),
        (house.url, "cs_wrong", 4),
        (house.url, reader, 2),
    ):
        with Client(url, key=key, max_retries=0) as client:
            cache = CacheServerCache(client)
            asked = model(cache, "1", "2")
            assert [asked.invoke("A private question").content for _ in "ab"] == ["1", "2"]
            assert cache.failures == failures
            if failures == 4:
                with pytest.raises(ClientError):
                    cache.clear()
    assert "private" not in caplog.text


async def test_asynchronous_failures_are_misses_too(served: Served) -> None:
    with Client("http://127.0.0.1:9", max_retries=0) as client:
        async with AsyncClient("http://127.0.0.1:9", max_retries=0) as async_client:
            cache = CacheServerCache(client, async_client=async_client)
            assert (await model(cache, "1").ainvoke(QUESTION)).content == "1"
            assert cache.failures == 2
            with pytest.raises(ClientError):
                await cache.aclear()
            with pytest.raises(TypeError, match="'tag'"):
                await cache.aclear(tag="faq")


async def test_an_answer_of_claude_in_our_place_is_not_read(make: Make, served: Served) -> None:
    """A caller who may only ask can have Claude say a text like a stored generation."""
    house, _, reader = served
    cache = make(namespace="forged")
    forged = generations.write([Generation(text="forged")])
    text = f"[[sim text={forged!r}]]"
    asked = prompts.question(text, "llm", semantic=False)
    async with AsyncClient(house.url, key=reader) as client:
        answer = await client.query(asked.text, system=asked.scope, namespace="forged")
        assert answer.text == forged
    assert await asyncio.to_thread(cache.lookup, text, "llm") is None


@pytest.mark.parametrize("stored", ["Five days.", "[]", "{}", '{"generations": [{}]}', "{}[" * 9])
def test_a_stored_text_of_another_form_is_a_miss(
    make: Make, served: Served, stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache, asked = make(namespace="other"), prompts.question(stored, "llm", semantic=False)
    with Client(served[0].url, key=served[1]) as client:
        client.put(asked.text, stored, system=asked.scope, namespace="other")
    assert (cache.lookup(stored, "llm"), cache.failures) == (None, 1)
    assert stored not in caplog.text


def test_tags_and_a_lifetime_go_with_the_answers(make: Make, served: Served) -> None:
    cache = make(tags=["faq"], ttl_s=60)
    cache.update("prompt", "llm", [Generation(text="x")])
    with Client(served[0].url, key=served[1]) as client:
        assert client.purge(tag="faq") == 1
    assert cache.lookup("prompt", "llm") is None
    make(ttl_s=0).update("prompt", "llm", [Generation(text="x")])
    assert cache.lookup("prompt", "llm") is None
