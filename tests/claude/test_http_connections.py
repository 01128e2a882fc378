"""Connections to Claude, against httpx's own as the oracle, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
import uvloop

from cacheserver.claude.http_connections import HttpConnections, dial

HEADERS = {"authorization": "Bearer k", "content-type": "application/json"}
BODY = b'{"model": "claude"}'
OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
WHOLE = OK + b"content-length: 5\r\n\r\nhello"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
ZIPPED = gzip.compress(b"hello")

ANSWERS = {
    "whole": WHOLE,
    "empty": OK + b"content-length: 0\r\n\r\n",
    "chunked": CHUNKED + b"2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"5\r\nhello\r\n0\r\nx-a: b\r\n\r\n",
    "to the end": OK + b"\r\nhello",
    "closing": OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello",
    "old": b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + WHOLE,
    "no content": b"HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n",
    "error": b"HTTP/1.1 529 \r\ncontent-length: 5\r\nx-a: 1\r\nX-A: 2\r\n\r\nhello",
    "gzip": OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED,
    "upgrade": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "nothing": b"",
    "half a head": OK,
    "half a body": OK + b"content-length: 50\r\n\r\nhello",
    "half a chunk": CHUNKED + b"5\r\nhel",
    "no http": b"SSH-2.0-OpenSSH\r\n\r\n",
    "no length": OK + b"content-length: five\r\n\r\nhello",
    "endless head": OK + b"x: y\r\n" * 40_000,
    "endless header": OK + b"x: " + b"y" * 300_000,
}


class Claude:
    """A server that answers each request on a connection with the next of its answers."""

    def __init__(self, answers: Callable[[int], list[bytes]], *, ends: bool = False) -> None:
        self.connections = self.requests = 0
        self.sent = b""
        self.asked = asyncio.Event()
        self._answers, self._ends = answers, ends

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self.sent = head + await reader.readexactly(length)
            self.requests += 1
            self.asked.set()
            for piece in self._answers(self.requests):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if self._ends:
                return

    def serving(
        self, tls: ssl.SSLContext | None = None
    ) -> contextlib.AbstractAsyncContextManager[httpx2.URL]:
        return serving(self.answer, tls)


@contextlib.asynccontextmanager
async def serving(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[httpx2.URL]:
    """Serve until every connection is closed by its client."""
    tasks: list[asyncio.Task[None]] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await answer(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    scheme, port = "http" if tls is None else "https", server.sockets[0].getsockname()[1]
    async with server:
        yield httpx2.URL(f"{scheme}://127.0.0.1:{port}/v1/messages")
        if tasks:
            await asyncio.wait(tasks)


@contextlib.contextmanager
def connections(
    url: httpx2.URL, timeout: float = 30, kept_s: float = 30
) -> Iterator[HttpConnections]:
    made = HttpConnections(url, timeout=httpx2.Timeout(timeout), kept_s=kept_s)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else None

    def run(test: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(test)

    return run


Run = Callable[[Coroutine[Any, Any, None]], None]


async def _outcome(asking: Coroutine[Any, Any, httpx2.Response]) -> tuple[object, ...]:
    try:
        response = await asking
    except httpx2.ReadError:  # a reset: whether it or the end is seen first is chance
        return (httpx2.RemoteProtocolError,)
    except httpx2.HTTPError as error:
        return (type(error),)
    return response.status_code, response.headers.raw, response.content


def _cut(answer: bytes, drawn: random.Random) -> list[bytes]:
    places = sorted(drawn.randrange(len(answer) + 1) for _ in range(4))
    cuts = [0, *places, len(answer)]
    return [answer[start:end] for start, end in pairwise(cuts)]


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read_as_httpx_reads_it_however_it_is_cut(name: str, run: Run) -> None:
    drawn, answer = random.Random(name), ANSWERS[name]

    async def test() -> None:
        claude = Claude(lambda _: _cut(answer, drawn), ends=True)  # an end ends each of them
        async with claude.serving() as url, httpx2.AsyncClient(trust_env=False) as client:
            with connections(url) as ours:
                for _ in range(3):
                    expected = await _outcome(client.post(url, headers=HEADERS, content=BODY))
                    found = await _outcome(ours.post(HEADERS, BODY, stream=False))
                    # httpx gives an upgraded connection back as an answer.
                    if name != "upgrade":
                        assert found == expected
                    assert claude.sent.startswith(b"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1:")
                    assert claude.sent.endswith(b"\r\n\r\n" + BODY)

    run(test())


@pytest.mark.parametrize(
    ("answer", "used"),
    [
        (WHOLE, 1),
        (ANSWERS["trailers"], 1),
        (ANSWERS["interim"], 1),
        (ANSWERS["closing"], 3),
        (ANSWERS["old"], 3),
        (WHOLE + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison", 3),
        (WHOLE + b"x", 3),
    ],
)
def test_a_connection_is_kept_if_nothing_is_amiss(answer: bytes, used: int, run: Run) -> None:
    async def test() -> None:
        claude = Claude(lambda _: [answer])
        async with claude.serving() as url:
            with connections(url) as ours:
                for _ in range(3):
                    response = await ours.post(HEADERS, BODY, stream=False)
                    assert response.content == b"hello"
            assert claude.connections == used

    run(test())


def test_what_comes_while_nobody_asks_is_no_answer(run: Run) -> None:
    async def test() -> None:
        more, closed = asyncio.Event(), asyncio.Event()
        used = 0

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal used
            used += 1
            await reader.readuntil(BODY)
            writer.write(WHOLE)
            await more.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
            with contextlib.suppress(ConnectionError):
                await reader.read()
            closed.set()

        async with serving(answer) as url:
            with connections(url) as ours:
                assert (await ours.post(HEADERS, BODY, stream=False)).content == b"hello"
                more.set()
                await closed.wait()  # by us, who did not ask
                assert (await ours.post(HEADERS, BODY, stream=False)).content == b"hello"
        assert used == 2

    run(test())


def test_a_reader_who_leaves_early_ends_the_connection(run: Run) -> None:
    async def test() -> None:
        claude = Claude(lambda _: [CHUNKED + b"5\r\nhello\r\n"])
        async with claude.serving() as url:
            with connections(url) as ours:
                for _ in range(2):
                    response = await ours.post(HEADERS, BODY, stream=True)
                    async for piece in response.aiter_bytes():
                        assert piece == b"hello"
                        break
                    await response.aclose()
                claude.asked.clear()
                leaving = asyncio.create_task(ours.post(HEADERS, BODY, stream=False))
                await claude.asked.wait()
                leaving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await leaving
        assert claude.connections == 3

    run(test())


@pytest.mark.parametrize("answer", [b"", OK, CHUNKED + b"5\r\nhello\r\n"])
def test_a_silent_claude_is_waited_for_as_long_as_is_set(answer: bytes, run: Run) -> None:
    async def test() -> None:
        async with Claude(lambda _: [answer]).serving() as url:
            with connections(url, timeout=0.05) as ours, pytest.raises(httpx2.ReadTimeout):
                await ours.post(HEADERS, BODY, stream=False)

    run(test())


def test_what_nobody_reads_stays_with_claude(run: Run) -> None:
    piece, count = b"10000\r\n" + b"x" * 0x10000 + b"\r\n", 300  # 20 MB

    async def test() -> None:
        sent = 0

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await reader.readuntil(BODY)
            writer.write(CHUNKED)
            while sent < count:
                writer.write(piece)
                await writer.drain()
                sent += 1
            writer.write(b"0\r\n\r\n")

        async with serving(answer) as url:
            with connections(url) as ours:
                response = await ours.post(HEADERS, BODY, stream=True)
                before = -1
                while sent != before:
                    before = sent
                    for _ in range(100):
                        await asyncio.sleep(0)
                assert sent < count
                assert len(await response.aread()) == count * 0x10000

    run(test())


@pytest.mark.parametrize(
    ("name", "value"), [("x-a", "b\r\nx-c: d"), ("x-a", "b\nc"), ("x-a: b\r\nx", "c"), ("x-a", "→")]
)
def test_a_header_cannot_end_where_its_sender_wants(name: str, value: str, run: Run) -> None:
    async def test() -> None:
        claude = Claude(lambda _: [WHOLE])
        async with claude.serving() as url:
            with connections(url) as ours, pytest.raises(httpx2.LocalProtocolError):
                await ours.post({**HEADERS, name: value}, BODY, stream=False)
        assert claude.connections == 0

    run(test())


def test_tls_is_verified(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, roots = trustme.CA(), tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))

    async def test() -> None:
        for names, trusted in (("127.0.0.1", True), ("127.0.0.1", False), ("localhost", True)):
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            (authority if trusted else trustme.CA()).issue_cert(names).configure_cert(tls)
            claude = Claude(lambda _: [WHOLE])
            async with claude.serving(tls) as url:
                with connections(url) as ours:
                    ours._ssl = ssl.create_default_context(cafile=str(roots))
                    good = names == "127.0.0.1" and trusted
                    expected = (
                        contextlib.nullcontext() if good else pytest.raises(httpx2.ConnectError)
                    )
                    with expected:
                        for _ in range(2):
                            response = await ours.post(HEADERS, BODY, stream=False)
                            assert response.content == b"hello"
                    assert claude.requests == (2 if good else 0)
                    assert claude.connections == (1 if good else 0)

    run(test())


def test_the_first_address_that_answers_is_taken(run: Run) -> None:
    async def test() -> None:
        with socket.socket() as closed, socket.socket() as full, socket.socket() as open_:
            for one in (closed, full, open_):
                one.bind(("127.0.0.1", 0))
            full.listen(0)
            open_.listen()
            with socket.create_connection(full.getsockname()):  # no further one is answered
                addresses = [(one.family, one.getsockname()) for one in (closed, full, open_)]
                with await dial(addresses) as dialled:
                    assert dialled.getpeername() == open_.getsockname()
                with pytest.raises(ConnectionRefusedError):
                    await dial(addresses[:1])
                with pytest.raises(OSError, match="no address"):
                    await dial([])

    run(test())
