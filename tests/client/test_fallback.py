"""`fallback`: straight to Claude while no server answers, and never past its word."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic

from cacheserver import AsyncClient, Client
from cacheserver.client import ClientError, ConnectionFailed
from cacheserver.client import fallback as rules
from cacheserver.core.rules.routing import Tiers
from cacheserver.simulated import Simulated, SimulatedSettings, serve_simulated
from tests.client.server import KEY, Contract, Fault

NEVER = {"x-should-retry": "false"}


@pytest.fixture
async def claude() -> AsyncIterator[tuple[Simulated, str]]:
    simulated = Simulated(SimulatedSettings())
    async with serve_simulated(simulated) as url:
        yield simulated, url


def nowhere() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def sdk(url: str) -> Anthropic:
    return Anthropic(api_key="sk-ant-own", base_url=url)


async def test_a_server_that_is_away_is_passed_and_the_answer_says_so(
    claude: tuple[Simulated, str],
) -> None:
    simulated, url = claude

    def work() -> None:
        with sdk(url) as straight, Client(nowhere(), fallback=straight) as client:
            answer = client.query("Where is Rome?", system="Be brief.", tags=["geo"], ttl_s=5)
            assert "Where is Rome?" in answer.text
            assert (answer.decision.kind, answer.decision.reason) == ("bypass", "fallback")
            assert (answer.decision.hit, answer.entry_id, answer.cost_usd) == (False, None, None)
            assert (answer.model, answer.usage.output_tokens > 0) == (rules.MODEL, True)
            with client.stream("Where is Oslo?", max_tokens=50) as stream:
                assert stream.decision == answer.decision
                assert "Oslo" in "".join(stream.text())
            with client.stream("Where is Bern?", model="claude-haiku-5-5") as stream:
                assert [event["type"] for event in stream][-1] == "message_stop"
            shape = {"type": "object", "properties": {}, "additionalProperties": False}
            client.query("As JSON?", schema=shape)

    await asyncio.to_thread(work)
    first, second, third, last = [one.body for one in simulated.requests]
    assert first["system"] == "Be brief."
    assert first.keys() == {"model", "max_tokens", "messages", "system"}
    assert (second["max_tokens"], third["model"]) == (50, "claude-haiku-5-5")
    assert last["output_config"]["format"]["type"] == "json_schema"
    assert Tiers().middle == rules.MODEL


async def test_the_async_client_does_the_same(claude: tuple[Simulated, str]) -> None:
    _, url = claude
    straight = AsyncAnthropic(api_key="sk-ant-own", base_url=url)
    async with straight, AsyncClient(nowhere(), fallback=straight) as client:
        assert (await client.query("Where is Rome?")).decision.reason == "fallback"
        async with client.stream("Where is Rome?") as stream:
            assert "Rome" in "".join([piece async for piece in stream.text()])
        async with client.stream("Where is Rome?") as stream:
            assert [event["type"] async for event in stream][-1] == "message_stop"


@pytest.mark.parametrize(
    ("fault", "passed"),
    [
        (Fault(502, body=b"<html>bad gateway"), True),
        (Fault(503), True),
        (Fault(500, NEVER), False),
        (Fault(504, NEVER, body=b"<html>"), False),
        (Fault(529, NEVER, "overloaded_error"), False),
        (Fault(429, NEVER, "rate_limit_error"), False),
        (Fault(400, type="invalid_request_error"), False),
        (Fault(401, type="authentication_error"), False),
        (Fault(402, type="billing_error"), False),
        (Fault(404, body=b"<html>"), False),
    ],
)
async def test_only_a_server_that_could_not_answer_is_passed(
    claude: tuple[Simulated, str], server: Contract, fault: Fault, passed: bool
) -> None:
    simulated, url = claude

    def work() -> None:
        with sdk(url) as straight, Client(server.url, key=KEY, fallback=straight) as client:
            for ask in (lambda: client.query("Where is Rome?").decision, lambda: streamed(client)):
                server.faults = [fault]
                if passed:
                    assert ask().reason == "fallback"
                else:
                    with pytest.raises(ClientError):
                        ask()

    await asyncio.to_thread(work)
    assert len(simulated.requests) == (2 if passed else 0)
    assert len(server.seen) == 2  # nothing is tried again where Claude is asked


def streamed(client: Client) -> Any:
    with client.stream("Where is Rome?") as stream:
        list(stream)
        return stream.decision


async def test_a_server_too_slow_to_begin_is_passed(claude: tuple[Simulated, str]) -> None:
    _, url = claude

    def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            there = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            with sdk(url) as straight, Client(there, timeout_s=0.05, fallback=straight) as client:
                assert client.query("Where is Rome?").decision.reason == "fallback"

    await asyncio.to_thread(work)


async def test_an_answer_that_broke_off_is_not_asked_for_elsewhere(
    claude: tuple[Simulated, str], server: Contract
) -> None:
    simulated, url = claude

    def work() -> None:
        server.cut_streams = True
        with (
            sdk(url) as straight,
            Client(server.url, key=KEY, fallback=straight) as client,
            client.stream("Where is Rome?") as stream,
            pytest.raises(ConnectionFailed),
        ):
            list(stream)

    await asyncio.to_thread(work)
    assert not simulated.requests


@pytest.mark.parametrize("options", [{"cache": "only"}, {"conversation": "talk"}])
async def test_what_only_the_server_can_answer_is_not_asked_elsewhere(
    claude: tuple[Simulated, str], options: Any
) -> None:
    simulated, url = claude

    def work() -> None:
        with sdk(url) as straight, Client(nowhere(), max_retries=0, fallback=straight) as client:
            calls: list[Callable[[], Any]] = [
                lambda: client.query("Where is Rome?", **options),
                lambda: client.get("Where is Rome?"),
                client.stats,
            ]
            for call in calls:
                with pytest.raises(ConnectionFailed):
                    call()

    await asyncio.to_thread(work)
    assert not simulated.requests


def test_a_client_of_the_other_kind_is_refused() -> None:
    with pytest.raises(TypeError, match=r"anthropic\.Anthropic"):
        Client(fallback=AsyncAnthropic(api_key="x"))
    with pytest.raises(TypeError, match=r"anthropic\.AsyncAnthropic"):
        AsyncClient(fallback=Anthropic(api_key="x"))


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1", "http://127.0.0.1:1/v1/"])
def test_a_fallback_to_the_server_itself_is_refused(
    monkeypatch: pytest.MonkeyPatch, base_url: str
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", base_url)
    with pytest.raises(ValueError, match="ANTHROPIC_BASE_URL"):
        Client("http://127.0.0.1:1/", fallback=Anthropic(api_key="x"))
    with pytest.raises(ValueError, match="ANTHROPIC_BASE_URL"):
        AsyncClient("http://127.0.0.1:1", fallback=AsyncAnthropic(api_key="x"))
    Client("http://127.0.0.1:2", fallback=Anthropic(api_key="x")).close()
