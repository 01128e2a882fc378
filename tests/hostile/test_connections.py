"""Connections that take what they can: bytes, fields, time, memory, and others' places."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from cacheserver.api.server.connections import Connections
from cacheserver.api.server.limits import Limits
from tests.hostile.lag import lag, within
from tests.hostile.raw import Wire, body_of, request, wire
from tests.house import ADMIN_KEY, House, came_from

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY = body_of("What is the capital of France?")
START = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: any\r\n"
HELD_S = 0.25  # no caller waits longer for what another one does

# Seconds that a test can wait; the windows' bytes go with them.
QUICK: dict[str, Any] = {
    "head_s": 0.4,
    "body_s": 2.0,
    "body_window_s": 0.4,
    "least_body": 200,
    "reader_s": 0.4,
    "keep_alive_s": 5.0,
    "linger_s": 0.2,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with House.open(tmp_path_factory.mktemp("bounds"), bounds=QUICK) as house:
        yield house


async def closed(house: House) -> dict[str, int]:
    """Connections that passed a bound, by which."""
    page = await house.http.get("/metrics", headers={"x-api-key": ADMIN_KEY})
    lines = [one for one in page.text.splitlines() if "connections_closed_total{" in one]
    return {one.split('"')[1]: int(float(one.split()[-1])) for one in lines}


async def refusal(caller: Wire) -> int:
    """The status of what comes, with its shape looked at; the connection is closed after it."""
    status, headers, body = await caller.answer()
    assert json.loads(body)["request_id"] == headers["request-id"]
    assert await caller.reader.read() == b""
    return status


def answered(caller: Wire) -> bool:
    """Whether anything has come back, or the connection ended."""
    return bool(caller.reader._buffer) or caller.reader.at_eof()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("piece", "reason"),
    [
        (b"x: " + b"v" * 70_000 + b"\r\n", "head"),
        (b"".join(b"x-%d: v\r\n" % n for n in range(120)), "fields"),
        (b"n" * 70_000 + b": v\r\n", "head"),
    ],
)
async def test_headers_are_bounded_in_bytes_and_count(
    house: House, piece: bytes, reason: str
) -> None:
    before = await closed(house)
    async with wire(house) as caller:
        caller.send(START + piece + b"content-length: 0\r\n\r\n")
        assert await refusal(caller) == 431
    assert (await closed(house))[reason] == before.get(reason, 0) + 1


async def test_a_url_is_bounded_too(house: House) -> None:
    async with wire(house) as caller:
        caller.send(b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert await refusal(caller) == 431


async def test_what_people_send_is_within_the_bounds(house: House) -> None:
    """Headers of 60 kB, 90 of them, in many packets, twice on a connection."""
    many = b"".join(b"anthropic-x-%d: %s\r\n" % (n, b"v" * 600) for n in range(90))
    raw = json.dumps(BODY).encode()
    whole = START + many + b"content-length: %d\r\n\r\n" % len(raw) + raw
    async with wire(house) as caller:
        for _ in range(2):
            for at in range(0, len(whole), 1_400):
                caller.send(whole[at : at + 1_400])
                await asyncio.sleep(0)
            assert (await caller.answer())[0] == 200


ENDLESS = {
    "a header's value": (START + b"x: ", b"v"),
    "a header's name": (START, b"n"),
    "a URL": (b"GET /", b"u"),
    "a chunk's extension": (START + b"transfer-encoding: chunked\r\n\r\n5;", b"e"),
    "a trailer": (START + b"transfer-encoding: chunked\r\n\r\n0\r\nx: ", b"t"),
    "empty lines": (b"", b"\r\n"),
}


@pytest.mark.parametrize("what", sorted(ENDLESS))
async def test_nothing_without_end_is_read_for_long(house: House, what: str) -> None:
    """60 MB of it, of which no more is taken than a few packets; nobody waits for it."""
    start, more = ENDLESS[what]
    piece = more * (65_536 // len(more))
    sent = 0
    async with lag() as seen, wire(house) as caller:
        caller.send(start)
        try:
            while sent < 60_000_000:
                caller.send(piece)
                await caller.writer.drain()
                sent += len(piece)
                if answered(caller):
                    break
        except ConnectionError:
            pass
        if what != "empty lines":  # they are no request yet: its time is bounded, not its size
            assert sent < 10_000_000
    assert seen.longest_s < within(HELD_S)
    assert (await house.ask("Still there?")).status_code == 200


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (START, "head-time"),
        (b"P", "head-time"),
        (START + b"content-length: 100\r\n\r\n{", "body-time"),
        (START + b"transfer-encoding: chunked\r\n\r\n5\r\n", "body-time"),
    ],
)
async def test_what_stops_half_way_is_a_408(house: House, sent: bytes, reason: str) -> None:
    before = await closed(house)
    async with wire(house) as caller:
        caller.send(sent)
        assert await refusal(caller) == 408
    assert (await closed(house))[reason] == before.get(reason, 0) + 1


async def test_drops_do_not_buy_time(house: House) -> None:
    """A byte of a header now and then; and of a body, less than the least rate."""
    for start in (START + b"x: ", START + b"content-length: 100000\r\n\r\n"):
        async with wire(house) as caller, asyncio.timeout(30):
            caller.send(start)
            while not answered(caller):
                caller.send(b" ")
                await asyncio.sleep(0.02)
            assert await refusal(caller) == 408


async def test_a_slow_body_that_comes_is_waited_for(house: House) -> None:
    raw = json.dumps(body_of("x" * 4_000, stream=False)).encode()
    whole = request(raw)
    async with wire(house) as caller:
        for at in range(0, len(whole), 200):  # a second in all, twice the window
            caller.send(whole[at : at + 200])
            await asyncio.sleep(0.05)
        assert (await caller.answer())[0] == 200


async def test_a_call_that_takes_its_time_is_not_a_slow_body(house: House) -> None:
    async with wire(house) as caller:
        caller.send(request(body_of("Slowly? [[sim slow=1.5]]")))
        assert (await caller.answer())[0] == 200


async def test_a_reader_who_takes_nothing_is_let_go(house: House) -> None:
    text = "At length? [[sim words=20000]]"
    before = (await closed(house)).get("reader", 0)
    address = urlsplit(house.url)
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        caller.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(caller, (address.hostname, address.port))
        ask = request(body_of(text, stream=True, max_tokens=60_000))
        # Kernels take many megabytes before they tell that nobody reads.
        async with asyncio.timeout(60):
            while (await closed(house)).get("reader", 0) == before:
                with suppress(OSError):
                    caller.send(ask * 2)
                await asyncio.sleep(0.1)
    # What it began is another's: stored, or about to be.
    again = came_from(await house.ask(text, max_tokens=60_000))
    assert again[0] in ("exact", "coalesced"), again


async def test_a_reader_who_is_slow_and_reads_is_not(tmp_path: Path) -> None:
    quick = {**QUICK, "least_read": 1_000}
    text = "At length? [[sim words=20000]]"
    async with House.open(tmp_path, bounds=quick) as house, wire(house) as caller:
        caller.send(request(body_of(text, stream=True, max_tokens=60_000)))
        await caller.head()
        size = 0
        while b"message_stop" not in (piece := await caller.reader.read(40_000)):
            size += len(piece)
            await asyncio.sleep(0.05)
        assert size > 200_000


async def test_pipelined_requests_have_an_end(house: House) -> None:
    async with lag() as seen, wire(house) as caller:
        caller.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n" * 5_000)
        await caller.reader.read()
    assert seen.longest_s < within(HELD_S)
    assert (await closed(house))["pipelined"] >= 1


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0, HTTP/2.0"])
async def test_a_request_that_offers_an_upgrade_keeps_its_body(house: House, protocol: str) -> None:
    offer = [("connection", "Upgrade, HTTP2-Settings"), ("upgrade", protocol), ("x-api-key", "any")]
    text = f"Upgrade to {protocol}?"
    whole = request(body_of(text), headers=offer)
    async with wire(house) as caller:
        caller.send(whole)
        status, headers, _ = await caller.answer()
        assert (status, headers["x-cache"]) == (200, "miss")
        at = whole.index(b"\r\n\r\n") - 30
        for piece in (whole[:at], whole[at : at + 60], whole[at + 60 :]):
            caller.send(piece)
            await asyncio.sleep(0)
        status, headers, _ = await caller.answer()
        assert (status, headers["x-cache"]) == (200, "exact")
        chunked = (
            START + b"connection: upgrade\r\nupgrade: h2c\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        raw = json.dumps(body_of(text)).encode()
        caller.send(chunked + b"%x\r\n" % len(raw) + raw + b"\r\n0\r\n\r\n" + request(BODY))
        assert [(await caller.answer())[0] for _ in range(2)] == [200, 200]


async def test_no_tunnel_is_opened(house: House) -> None:
    async with wire(house) as caller:
        caller.send(b"CONNECT localhost:6379 HTTP/1.1\r\nhost: localhost\r\n\r\nFLUSHALL\r\n")
        assert await refusal(caller) == 400


async def test_trailers_say_nothing(house: House) -> None:
    """What comes behind a body was not there when the caller was let in."""
    raw = json.dumps(body_of("Trailing?")).encode()
    head = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    async with wire(house) as caller:
        caller.send(head + b"%x\r\n" % len(raw) + raw + b"\r\n0\r\nx-cache-ttl: many\r\n\r\n")
        assert (await caller.answer())[0] == 200


async def _from(house: House, source: str) -> Wire:
    address = urlsplit(house.url)
    reader, writer = await asyncio.open_connection(
        address.hostname, address.port, local_addr=(source, 0)
    )
    return Wire(reader, writer)


async def test_one_address_has_its_share_of_the_connections_and_no_more(tmp_path: Path) -> None:
    async with (
        House.open(tmp_path, max_connections_per_address=8) as house,
        AsyncExitStack() as stack,
    ):
        for _ in range(20):
            caller = await _from(house, "127.0.0.9")
            stack.callback(caller.hang_up)
        last = await _from(house, "127.0.0.9")
        assert await refusal(last) == 503
        assert (await house.ask()).status_code == 200  # from another address
        assert (await closed(house))["connections-of-address"] == 13
        await stack.pop_all().aclose()
        last.hang_up()
        async with asyncio.timeout(30):
            while True:
                again = await _from(house, "127.0.0.9")
                again.send(request(BODY))
                status = (await again.answer())[0]
                again.hang_up()
                if status == 200:
                    break


async def test_a_caller_beyond_the_limit_reads_why_though_it_sends_first(tmp_path: Path) -> None:
    async with (
        House.open(tmp_path, max_connections_per_address=8) as house,
        AsyncExitStack() as stack,
    ):
        for _ in range(8):
            stack.callback((await _from(house, "127.0.0.9")).hang_up)
        refused = []
        for _ in range(80):
            refused.append(await _from(house, "127.0.0.9"))
            stack.callback(refused[-1].hang_up)
        async with asyncio.timeout(30):
            for last in (refused[0], refused[-1]):
                while not answered(last):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        for _ in range(100):
            refused[0].send(b"x" * 1_000)
            await refused[0].writer.drain()  # raises after a reset
            await asyncio.sleep(0)
        assert (await refused[0].answer())[0] == 503
        assert await refusal(refused[-1]) == 503


async def test_slow_connections_hold_up_nobody(tmp_path: Path) -> None:
    """A thousand that never finish their headers, bodies and answers, beside one who just asks."""
    async with House.open(tmp_path, max_connections_per_address=2_000) as house:
        starts = (START + b"x: ", START + b"content-length: 99999\r\n\r\n{", b"GET /healthz")
        slow: list[Wire] = []
        await house.ask()
        quiet = [await _waited(house) for _ in range(20)]
        held: list[float] = []
        try:
            async with lag() as seen:
                for n in range(1_000):
                    caller = await _from(house, f"127.0.1.{n % 4 + 1}")
                    caller.send(starts[n % 3])
                    slow.append(caller)
                    if n % 50 == 0:
                        held.append(await _waited(house))
                for turn in range(20):
                    for caller in slow[turn % 5 :: 5]:
                        caller.send(b"v")
                    held.append(await _waited(house))
            assert seen.longest_s < within(HELD_S)
            assert len(slow) == 1_000
        finally:
            for caller in slow:
                caller.hang_up()
        quiet += [await _waited(house) for _ in range(20)]
        # As long as without them, and a little more: a busy machine is slow in both.
        assert median(held) < HELD_S / 5 + 2 * median(quiet), (median(held), median(quiet))


async def _waited(house: House) -> float:
    began = time.monotonic()
    assert came_from(await house.ask())[0] == "exact"
    return time.monotonic() - began


async def test_connections_that_come_while_others_are_looked_at_begin_no_second_round() -> None:
    @dataclass(eq=False)
    class Looked:
        times: int = 0

        def sweep(self, now: float) -> None:
            self.times += 1

    loop, limits = asyncio.get_running_loop(), Limits(head_s=0.2)
    watched, comers = Connections(limits), [Looked() for _ in range(500)]
    began = loop.time()
    for one in comers:
        watched.add(one, None)
    first = comers[0]
    while first.times < 8:
        comer = Looked()  # in each turn of the loop one comes, and goes
        watched.add(comer, None)
        watched.linger(comer)
        await asyncio.sleep(0)
        watched.discard(comer)
    assert first.times <= (loop.time() - began) / limits.tick_s + 1
    for one in comers:
        watched.discard(one)
