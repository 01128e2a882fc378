"""The test double of `cacheserver.testing`, as somebody's suite uses it, through the SDK."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import anthropic
import httpx2
import pytest

from cacheserver.testing import Reply, SimulatedClaude, simulated_claude
from tests.house import MODEL


@pytest.fixture
def claude() -> Iterator[SimulatedClaude]:
    with simulated_claude() as claude:
        yield claude


@pytest.fixture
def sdk(claude: SimulatedClaude) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=claude.base_url, api_key="sk-ant-x", max_retries=0, timeout=10
    ) as sdk:
        yield sdk


def ask(sdk: anthropic.Anthropic, text: str, **more: Any) -> anthropic.types.Message:
    message: anthropic.types.Message = sdk.messages.create(
        model=MODEL, max_tokens=100, messages=[{"role": "user", "content": text}], **more
    )
    return message


def said(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_answers_by_text_by_pattern_and_by_function(
    claude: SimulatedClaude, sdk: anthropic.Anthropic
) -> None:
    claude.answer("Anything.")
    claude.answer("Paris.", to="Capital of  France?")
    claude.answer({"city": "Lima"}, to=re.compile("Peru", re.I))

    def shout(body: Mapping[str, Any]) -> str | None:
        text = body["messages"][-1]["content"]
        return text.upper() if text.startswith("shout") else None

    claude.answer(shout)
    asked = ("Capital of France?", "capital of peru?", "shout it", "Else?")
    assert [said(ask(sdk, text)) for text in asked] == [
        "Paris.",
        '{"city": "Lima"}',
        "SHOUT IT",
        "Anything.",
    ]
    assert claude.questions == list(asked)
    assert claude.requests[0].body["model"] == MODEL
    assert "sk-ant-x" not in str(claude.requests)


def test_the_latest_answer_wins_and_a_reset_forgets(
    claude: SimulatedClaude, sdk: anthropic.Anthropic
) -> None:
    claude.answer("One.", to="Q?")
    claude.answer("Two.", to="Q?")
    claude.fail(500)
    with pytest.raises(anthropic.InternalServerError):
        ask(sdk, "Q?")
    assert said(ask(sdk, "Q?")) == "Two."
    assert claude.cost_usd > Decimal(0)
    claude.fail(500)
    claude.reset()
    assert said(ask(sdk, "Q?")).startswith("This is a simulated answer")
    assert claude.questions == ["Q?"]


def test_replies_in_full(claude: SimulatedClaude, sdk: anthropic.Anthropic) -> None:
    claude.answer(Reply(tool="lookup", input={"id": 7}))
    tool: Any = {"name": "lookup", "input_schema": {"type": "object"}}
    used = ask(sdk, "Look it up", tools=[tool])
    assert used.stop_reason == "tool_use"
    assert used.content[0].type == "tool_use"
    assert used.content[0].input == {"id": 7}


def test_failures_on_demand(claude: SimulatedClaude, sdk: anthropic.Anthropic) -> None:
    claude.fail(529, times=2)
    for _ in range(2):
        with pytest.raises(anthropic.InternalServerError) as raised:
            ask(sdk, "Q?")
        assert raised.value.status_code == 529
    claude.fail(429, retry_after_s=3)
    with pytest.raises(anthropic.RateLimitError) as limited:
        ask(sdk, "Q?")
    assert limited.value.response.headers["retry-after"] == "3"
    claude.cut()
    with pytest.raises(anthropic.APIConnectionError):
        ask(sdk, "Q?")
    claude.hang()
    with pytest.raises(anthropic.APITimeoutError):
        ask(sdk.with_options(timeout=0.2), "Q?")
    claude.cut(after_events=3)
    with (
        pytest.raises(httpx2.RemoteProtocolError) as lost,
        sdk.messages.stream(
            model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Q?"}]
        ) as stream,
    ):
        stream.until_done()
    assert "peer closed" in str(lost.value)
    assert said(ask(sdk, "Q?"))


def test_what_an_answer_function_raises_is_raised_to_the_test() -> None:
    def broken(body: Mapping[str, Any]) -> str:
        raise LookupError(body["model"])

    def suite() -> None:
        with simulated_claude() as claude:
            claude.answer(broken)
            with anthropic.Anthropic(base_url=claude.base_url, api_key="x") as sdk:
                ask(sdk, "Q?")

    with pytest.raises(LookupError, match=MODEL):
        suite()


def test_an_answer_function_may_change_the_answers(
    claude: SimulatedClaude, sdk: anthropic.Anthropic
) -> None:
    def once(body: Mapping[str, Any]) -> str:
        claude.answer("Later.")
        return "First."

    claude.answer(once)
    assert [said(ask(sdk, "Q?")) for _ in range(2)] == ["First.", "Later."]


async def test_from_a_test_with_a_loop_of_its_own(claude: SimulatedClaude) -> None:
    claude.answer("Paris.")
    async with anthropic.AsyncAnthropic(base_url=claude.base_url, api_key="x") as sdk:
        message = await sdk.messages.create(
            model=MODEL, max_tokens=10, messages=[{"role": "user", "content": "Capital?"}]
        )
    assert said(message) == "Paris."


def test_it_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with simulated_claude() as claude:
        assert threading.active_count() == before + 1
    with pytest.raises(RuntimeError, match="closed"):
        claude.answer("Too late.")
    assert threading.active_count() == before
