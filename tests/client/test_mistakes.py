"""Mistakes of people and machines: each says what to do, once, before anything else happens."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from cacheserver import AsyncClient, Client
from cacheserver.client import (
    BadRequestError,
    ConnectionFailed,
    RateLimitError,
    UnexpectedAnswer,
    UpstreamFailed,
)
from cacheserver.client.calls import Call
from cacheserver.client.failures import failure
from tests.client.server import KEY, Contract, Fault


@contextmanager
def once(answer: bytes) -> Iterator[str]:
    """A server that reads one request, sends `answer` and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                if answer:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


async def both(url: str, says: str, times: int = 1) -> None:
    """Both clients fail with a message that says it once."""
    with Client(url, max_retries=0) as client, pytest.raises(ConnectionFailed) as failed:
        client.stats()
    assert failed.value.message.count(says) == 1
    assert failed.value.__cause__ is not None
    if times > 1:
        return
    async with AsyncClient(url, max_retries=0) as slow:
        with pytest.raises(ConnectionFailed, match=says):
            await slow.stats()


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    await both(url, "cacheserver serve")


def test_an_error_does_not_repeat_a_password_in_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with (
        Client(f"http://proxy:s3cret@{address}", max_retries=0) as client,
        pytest.raises(ConnectionFailed) as failed,
    ):
        client.stats()
    assert f"http://{address}:" in failed.value.message
    assert "s3cret" not in str(failed.value)


async def test_there_is_no_such_host() -> None:
    await both("http://no-such-host.invalid:8080", "there is no host 'no-such-host.invalid'")


async def test_https_is_spoken_to_a_server_without_it() -> None:
    with once(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n") as address:
        await both(f"https://{address}", "use `http://`", times=2)


def test_a_connection_that_is_closed_without_a_word() -> None:
    with (
        once(b"") as address,
        Client(f"http://{address}", max_retries=0) as client,
        pytest.raises(ConnectionFailed, match="was closed"),
    ):
        client.stats()


def test_an_answer_that_breaks_off_had_begun() -> None:
    half = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"
    with once(half) as address, Client(f"http://{address}", max_retries=0) as client:
        with pytest.raises(ConnectionFailed, match="in the middle of the answer") as failed:
            client.stats()
        assert failed.value.begun


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("cs_abc\n", "strip it"),
        (" cs_abc", "strip it"),
        ("", "None: there is none"),
        ("cs_a\nb", r"'\\n'"),
        ("cs_ké", "'é'"),
        ("cs_“abc”", "“"),
    ],
)
@pytest.mark.parametrize("name", ["key", "anthropic_key"])
def test_a_key_that_no_header_carries(key: str, says: str, name: str) -> None:
    with pytest.raises(ValueError, match=says) as failed:
        Client(**{name: key})  # type: ignore[arg-type]
    assert str(failed.value).startswith(f"`{name}`")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda c: c.query("x", temperature=0), r"query\(\) has no option 'temperature'"),
        (lambda c: c.query("x", tag=["a"]), "did you mean 'tags'"),
        (lambda c: c.stream("x", temprature=0).__enter__(), r"stream\(\) has no option"),
        (lambda c: c.get("x", ttl_s=5), r"get\(\) has no option 'ttl_s'"),
        (lambda c: c.put("x", "y", cache="off"), r"put\(\) has no option 'cache'"),
        (lambda c: c.jobs.create("x", stream=True), r"jobs.create\(\) has no option 'stream'"),
        (lambda c: c.purge(entry="x"), r"purge\(\) has no option 'entry'; did you mean 'entry_id'"),
        (lambda c: c.erase(user="x"), r"erase\(\) has no option 'user'"),
    ],
)
def test_an_unknown_option_is_named_as_the_method_that_was_called(
    call: Callable[[Client], object], says: str
) -> None:
    with Client() as client, pytest.raises(TypeError, match=says):
        call(client)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.query("x", tags="support"),
        lambda c: c.query("x", levers_off="verify"),
        lambda c: c.query("x", context_blocks="system.0"),
        lambda c: c.query(messages="x"),
        lambda c: c.put("x", "y", tags="support"),
        lambda c: c.jobs.create("x", tags="support"),
        lambda c: c.usage(group_by="day"),
        lambda c: c.usage(cause="exact"),
        lambda c: c.usage(decision="hit"),
    ],
)
def test_a_string_where_a_list_is_meant_is_refused(call: Callable[[Client], object]) -> None:
    with Client() as client, pytest.raises(TypeError, match="must be a list of strings, such as"):
        call(client)


def test_a_page_where_json_is_meant(server: Contract) -> None:
    with Client(server.url, key=KEY) as client:
        server.faults = [Fault(200, body=b"<!doctype html><title>Welcome</title>")]
        with pytest.raises(UnexpectedAnswer, match="an HTML page came"):
            client.stats()
        server.faults = [Fault(404, {"content-type": "text/html"}, body=b"Not here")]
        with pytest.raises(UnexpectedAnswer, match="an HTML page came"):
            client.stats()


def test_a_server_that_is_too_old(server: Contract) -> None:
    said = "there is no such route; `/docs` lists those there are"
    error = {"type": "not_found_error", "message": said}
    missing = json.dumps({"type": "error", "error": error}).encode()
    with Client(server.url, key=KEY) as client:
        server.faults = [Fault(404, body=missing)]
        with pytest.raises(UnexpectedAnswer, match=r"no `GET /v1/stats`.*older than the client"):
            client.stats()
    unknown = missing.replace(said.encode(), b"`schema`: Extra inputs are not permitted")
    failed = failure(400, {}, unknown, Call("POST", "/v1/query"))
    assert isinstance(failed, BadRequestError)
    assert "this server does not know it" in failed.message


def test_an_id_that_is_none_is_refused() -> None:
    with Client() as client:
        for wrong in ("", ".", ".."):
            with pytest.raises(ValueError, match="is no name or id"):
                client.entry(wrong)
            with pytest.raises(ValueError, match="is no name or id"):
                client.admin.keys.revoke(wrong)


@pytest.mark.parametrize(
    ("call", "times"),
    [
        (lambda c: c.stats(), 3),
        (lambda c: c.estimate({}), 3),
        (lambda c: c.admin.bars.set("shop", None), 3),
        (lambda c: c.admin.bars.undo("shop"), 1),
        (lambda c: c.admin.keys.create("shop"), 1),
        (lambda c: c.admin.audits.create(b"{}"), 1),
        (lambda c: c.batches.create([]), 1),
        (lambda c: c.jobs.create("Later?"), 1),
    ],
)
def test_what_must_not_be_done_twice_is_not_sent_twice(
    server: Contract, call: Callable[[Client], object], times: int
) -> None:
    """A server that fails, or a connection that is lost, may have done it."""
    server.all_fail = Fault(500, {"retry-after-ms": "0"})
    with Client(server.url, key=KEY) as client, pytest.raises(UpstreamFailed):
        call(client)
    assert len(server.seen) == times
    server.seen.clear()
    server.all_fail = Fault(429, {"retry-after-ms": "0"}, "rate_limit_error")  # it was not done
    with Client(server.url, key=KEY) as client, pytest.raises(RateLimitError):
        call(client)
    assert len(server.seen) == 3
