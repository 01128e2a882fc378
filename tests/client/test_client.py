"""The client against a real socket: the blocking one in full, the other where it differs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from decimal import Decimal

import httpx2
import pytest

import cacheserver
from cacheserver import AsyncClient, Client
from cacheserver.api.resources.query import QueryRequest
from cacheserver.client import (
    AuthenticationError,
    BadRequestError,
    ClientError,
    ConnectionFailed,
    NotCachedError,
    NotFoundError,
    Options,
    RateLimitError,
    UnexpectedAnswer,
    UpstreamFailed,
)
from cacheserver.core.types import UNLOOKED, Usage
from tests.client.server import KEY, Contract, Fault

NOW = {"retry-after": "0"}  # try again at once


@pytest.fixture
def client(server: Contract) -> Iterator[Client]:
    with Client(server.url, key=KEY) as client:
        yield client


def test_a_question_asked_twice_comes_from_the_cache_and_says_so(client: Client) -> None:
    first, second = client.query("Capital of France?"), client.query("Capital of France?")
    assert first.text == second.text == "You asked: Capital of France?"
    assert first.content == ({"type": "text", "text": first.text},)
    assert (first.decision.kind, second.decision.kind) == ("miss", "exact")
    assert (first.decision.hit, second.decision.hit) == (False, True)
    assert second.decision.matched == "Capital of France?"
    assert (second.decision.similarity, second.decision.age_s, second.decision.bar) == (1, 12, 0.95)
    assert second.usage == Usage(10, 20, cache_read_tokens=30)
    assert (second.cost_usd, second.saved_usd) == (Decimal("0.000011000"), Decimal("0.000011000"))
    assert (second.model, second.batch_eligible) == ("claude-haiku-5-5", False)
    assert (second.stop_reason, second.ttl_s) == ("end_turn", 3600)
    assert second.entry_id == first.entry_id
    assert (second.decision_id, second.request_id) == ("dec_1", "req_1")


def test_what_is_not_said_is_not_sent(client: Client, server: Contract) -> None:
    client.query("Hello")
    assert server.seen[0][1] == {"prompt": "Hello", "model": "auto", "cache": "default"}


def test_everything_said_is_sent(client: Client, server: Contract) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    client.query(
        messages=messages,
        system="Be brief.",
        model="claude-sonnet-5-5",
        max_tokens=100,
        ttl_s=0,
        tags=("a", "b"),
        namespace="docs",
        cache="refresh",
        task="faq",
        requires_deep_analysis=True,
    )
    assert server.seen[0][1] == {
        "messages": messages,
        "system": "Be brief.",
        "model": "claude-sonnet-5-5",
        "max_tokens": 100,
        "ttl_s": 0,
        "tags": ["a", "b"],
        "namespace": "docs",
        "cache": "refresh",
        "task": "faq",
        "requires_deep_analysis": True,
    }


def test_a_prompt_and_messages_together_are_refused_before_anything_is_sent(
    client: Client, server: Contract
) -> None:
    with pytest.raises(ValueError, match="either `prompt` or `messages`"):
        client.query("Hello", messages=[])
    with pytest.raises(ValueError, match="either `prompt` or `messages`"):
        client.query()
    assert server.seen == []


def test_the_client_offers_the_fields_of_the_server() -> None:
    jobs = {"when", "deadline", "webhook"}  # answered with a job, which is no `Answer`
    others = {"prompt", "stream", "check"}
    fields = {one.alias or name for name, one in QueryRequest.model_fields.items()}
    assert fields == Options.__annotations__.keys() | jobs | others


def test_an_option_that_does_not_exist_is_refused(client: Client) -> None:
    with pytest.raises(TypeError, match="temperature"):
        client.query("Hello", temperature=0)  # type: ignore[call-arg]


def test_a_stream_gives_the_decision_first_and_then_claudes_events(client: Client) -> None:
    with client.stream("Where is Łódź?\u2028And why?") as stream:
        assert (stream.decision.kind, stream.decision_id) == ("miss", "dec_1")
        assert (stream.entry_id, stream.request_id) == ("0" * 32, "req_1")
        assert [event["type"] for event in stream] == [
            "message_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
            "message_stop",
        ]
    with client.stream("Where is Łódź?\u2028And why?") as stream:
        assert (stream.decision.similarity, stream.decision.age_s) == (1, 12)
        assert "".join(stream.text()) == "You asked: Where is Łódź?\u2028And why?"


def test_a_stream_left_early_leaves_the_client_usable(client: Client) -> None:
    with client.stream("Hello") as stream:
        assert next(iter(stream))["type"] == "message_start"
    assert client.query("Hello").decision.kind == "exact"


def test_a_stream_cut_short_is_an_error_not_an_answer(client: Client, server: Contract) -> None:
    server.cut_streams = True
    with client.stream("Hello") as stream, pytest.raises(ConnectionFailed) as failed:
        list(stream)
    assert failed.value.request_id == "req_1"


def test_an_error_inside_a_stream_is_raised_as_what_it_is(client: Client, server: Contract) -> None:
    server.break_streams = True
    with client.stream("Hello") as stream, pytest.raises(UpstreamFailed) as failed:
        list(stream.text())
    error = failed.value
    assert (error.status, error.type, error.request_id) == (200, "overloaded_error", "req_up")


def test_statistics_purging_and_decisions_are_read(client: Client, server: Contract) -> None:
    entry_id = client.query("Hello").entry_id
    assert client.stats() == {"requests": 2}
    assert client.purge(entry_id=entry_id) == 1
    assert client.purge(tag="a") == 0
    assert client.purge(namespace="docs") == 0
    sent = [body for path, body, _ in server.seen if path == "/v1/purge"]
    assert sent == [{"entry_id": entry_id}, {"tag": "a"}, {"namespace": "docs"}]
    assert client.decision("dec_1")["decision"] == {"kind": "miss"}


def test_an_erasure_names_one_thing_and_whose_it_is(client: Client, server: Contract) -> None:
    assert client.erase(actor="ann") == {"erased": "actor"}
    client.erase(conversation="c", namespace="docs")
    client.erase(tenant="a/b", of="a/b")
    sent = [(path, body) for path, body, _ in server.seen]
    assert sent == [
        ("/v1/erase", {"actor": "ann"}),
        ("/v1/erase", {"conversation": "c", "namespace": "docs"}),
        ("/admin/v1/tenants/a/b/erase", {"tenant": "a/b"}),
    ]
    for wrong in ({}, {"tag": "a", "actor": "b"}, {"tag": "a", "namespace": "b"}):
        with pytest.raises(ValueError, match="give one"):
            client.erase(**wrong)
    assert len(server.seen) == 3


def test_purging_nothing_in_particular_is_refused(client: Client, server: Contract) -> None:
    with pytest.raises(ValueError, match="one of"):
        client.purge()
    with pytest.raises(ValueError, match="one of"):
        client.purge(tag="a", namespace="b")
    assert server.seen == []


@pytest.mark.parametrize("reason", ["only-if-cached", *UNLOOKED])
def test_nothing_cached_is_its_own_error_and_not_tried_again(
    client: Client, server: Contract, reason: str
) -> None:
    server.unserved = reason
    with pytest.raises(NotCachedError) as failed:
        client.query("Hello", cache="only")
    assert (failed.value.status, failed.value.type) == (404, "not_found_error")
    assert failed.value.request_id == "req_e"
    assert "req_e" in str(failed.value)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(400, type="invalid_request_error"), BadRequestError),
        (Fault(413, type="request_too_large"), BadRequestError),
        (Fault(401, type="authentication_error"), AuthenticationError),
        (Fault(403, type="permission_error"), AuthenticationError),
        (Fault(404, type="not_found_error"), NotFoundError),
        (Fault(508, type="invalid_request_error"), UpstreamFailed),
        (Fault(429, {"x-should-retry": "false"}, "rate_limit_error"), RateLimitError),
        (Fault(529, {"retry-after": "3600"}, "overloaded_error"), UpstreamFailed),
        (Fault(404, body=b"<html>not here</html>"), UnexpectedAnswer),
        (Fault(302, {"location": "/elsewhere"}, body=b""), UnexpectedAnswer),
        (Fault(200, body=b"<html>welcome</html>"), UnexpectedAnswer),
        (Fault(200, body=b"[]"), UnexpectedAnswer),
        (Fault(200, body=b"7"), UnexpectedAnswer),
        (Fault(200, body=b'{"content": []}'), UnexpectedAnswer),
        (Fault(502, {"x-should-retry": "false"}, body=b"<html>"), UpstreamFailed),
    ],
)
def test_what_cannot_succeed_is_raised_at_once_by_who_is_at_fault(
    client: Client, server: Contract, fault: Fault, error: type[ClientError]
) -> None:
    server.faults = [fault]
    with pytest.raises(error) as failed:
        client.query("Hello")
    assert type(failed.value) is error
    assert failed.value.status == fault.status
    assert isinstance(failed.value, cacheserver.core.errors.CacheServerError)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, NOW, "rate_limit_error"),
        Fault(529, NOW, "overloaded_error"),
        Fault(503, {"retry-after-ms": "0"}),
        Fault(409, NOW, "conflict_error"),
        Fault(400, {**NOW, "x-should-retry": "true"}),
        Fault(502, NOW, body=b"<html>"),
    ],
)
def test_what_may_pass_is_tried_again(client: Client, server: Contract, fault: Fault) -> None:
    server.faults = [fault, fault]
    assert client.query("Hello").decision.kind == "miss"
    assert len(server.seen) == 3


def test_retries_end(client: Client, server: Contract) -> None:
    server.faults = [Fault(529, NOW, "overloaded_error")] * 9
    with pytest.raises(UpstreamFailed):
        client.query("Hello")
    assert len(server.seen) == 3


def test_a_stream_is_tried_again_before_it_begins(client: Client, server: Contract) -> None:
    server.faults = [Fault(529, NOW, "overloaded_error")]
    with client.stream("Hello") as stream:
        assert "".join(stream.text()) == "You asked: Hello"
    assert len(server.seen) == 2


def test_a_server_that_is_not_there_is_a_failed_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with Client(url, max_retries=0) as client, pytest.raises(ConnectionFailed) as failed:
        client.query("Hello")
    assert (failed.value.status, failed.value.request_id) == (None, None)
    assert url in str(failed.value)


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with (
            Client(url, timeout_s=0.05, max_retries=0) as client,
            pytest.raises(ConnectionFailed, match="`timeout_s`"),
        ):
            client.query("Hello")


def test_the_callers_own_anthropic_key_moves_ours_to_its_header(server: Contract) -> None:
    with Client(server.url, key=KEY, anthropic_key="sk-ant-own") as client:
        client.query("Hello")
    headers = server.seen[0][2]
    assert headers["authorization"] == "Bearer sk-ant-own"
    assert headers["x-cacheserver-key"] == KEY


def test_a_wrong_key_is_told(server: Contract) -> None:
    with Client(server.url, key="wrong") as client, pytest.raises(AuthenticationError):
        client.stats()
    with Client(server.url) as client, pytest.raises(AuthenticationError):
        client.stats()
    assert "authorization" not in server.seen[1][2]


def test_only_from_env_reads_the_environment(
    server: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHESERVER_URL", server.url + "/")
    monkeypatch.setenv("CACHESERVER_API_KEY", KEY)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nobody listens there
    with Client.from_env() as client:
        assert client.query("Hello").text == "You asked: Hello"
    with Client(server.url) as client, pytest.raises(AuthenticationError):
        client.query("Hello")
    assert Client.from_env({})._url == "http://127.0.0.1:8080"


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="http"):
        Client("127.0.0.1:8080")


def test_a_borrowed_connection_pool_is_left_open(server: Contract) -> None:
    with httpx2.Client() as http:
        with Client(server.url, key=KEY, http=http) as client:
            client.query("Hello")
        assert not http.is_closed


async def test_the_async_client_asks_streams_and_purges(server: Contract) -> None:
    async with AsyncClient(server.url, key=KEY) as client:
        first, second = await client.query("Hello"), await client.query("Hello")
        assert (first.decision.kind, second.decision.kind) == ("miss", "exact")
        async with client.stream("Hello") as stream:
            assert stream.decision.kind == "exact"
            assert "".join([piece async for piece in stream.text()]) == "You asked: Hello"
        async with client.stream("Hello") as stream:
            assert [event["type"] async for event in stream][-1] == "message_stop"
        assert await client.purge(entry_id=first.entry_id) == 1
        assert (await client.stats())["requests"] == 6
        assert (await client.decision("dec_1"))["id"] == "dec_1"


async def test_the_async_client_fails_as_the_other_does(server: Contract) -> None:
    async with AsyncClient.from_env({"CACHESERVER_URL": server.url}) as client:
        with pytest.raises(AuthenticationError):
            await client.stats()
    async with AsyncClient(server.url, key=KEY) as client:
        with pytest.raises(NotCachedError):
            await client.query("Hello", cache="only")
        server.faults = [Fault(529, NOW, "overloaded_error")] * 2
        assert (await client.query("Hello")).decision.kind == "miss"
        server.cut_streams = True
        async with client.stream("Hello") as stream:
            with pytest.raises(ConnectionFailed):
                [event async for event in stream]
        server.cut_streams, server.break_streams = False, True
        async with client.stream("Hello") as stream:
            with pytest.raises(UpstreamFailed):
                [piece async for piece in stream.text()]


async def test_an_async_server_that_is_not_there_is_a_failed_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    async with AsyncClient(url, max_retries=0) as client:
        with pytest.raises(ConnectionFailed):
            await client.query("Hello")


def test_the_package_gives_its_front_door_and_nothing_else() -> None:
    assert cacheserver.Client is Client
    assert cacheserver.AsyncClient is AsyncClient
    with pytest.raises(AttributeError, match="nothing"):
        cacheserver.nothing  # noqa: B018
