"""What no library sends: headers twice, paths that climb, bodies that lie about themselves."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.hostile.raw import body_of, request, stats, under_way, until, wire
from tests.house import House, came_from

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "What is the capital of France?"
BODY = body_of(TEXT)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with House.open(tmp_path_factory.mktemp("open")) as house:
        yield house


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keyed_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with House.open(tmp_path_factory.mktemp("keyed")) as house:
        yield house


@pytest_asyncio.fixture(loop_scope="module")
async def house(open_house: House) -> House:
    """One server for the whole file, as new: starting it takes longer than most of these tests."""
    await open_house.parts.entries.entries.purge_tenant("default")
    open_house.upstream.reset()
    return open_house


async def said(house: House, data: bytes) -> tuple[int, dict[str, str], bytes]:
    async with wire(house) as caller:
        caller.send(data)
        return await caller.answer()


CLIMBING = (
    "/v1/models/../messages/batches",
    "/v1/models/%2e%2e/messages/batches",
    "/v1/models/..%2fmessages%2fbatches",
    "/v1/models/%2e./files",
    "/v1/models/x/../../files",
    "/v1/models/x%3Fbeta=true",
    "/v1/models/x%23y",
    "/v1/models/%00",
    "/v1/models/\\..\\files",
)


@pytest.mark.parametrize("target", CLIMBING)
async def test_no_path_climbs_to_what_the_servers_key_may_read(house: House, target: str) -> None:
    status, _, _ = await said(house, request(b"", method="GET", target=target))
    assert status in (400, 404)
    assert not house.upstream.requests


async def test_a_models_page_is_reached_under_its_own_path(house: House) -> None:
    status, _, _ = await said(
        house, request(b"", method="GET", target="/v1/models/claude-haiku-5-5?beta=true")
    )
    assert status == 200
    assert [(r.path, r.query) for r in house.upstream.requests] == [
        ("/v1/models/claude-haiku-5-5", "beta=true")
    ]


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("POST", "//v1/messages", 404),
        ("POST", "/v1//messages", 404),
        ("POST", "/V1/messages", 404),
        ("POST", "/v1/messages%2f", 404),
        ("POST", "/v1/messages/../admin/v1/keys", 404),
        ("GET", "/v1/messages", 405),
        ("DELETE", "/v1/messages", 405),
        ("OPTIONS", "/v1/messages", 405),
        ("TRACE", "/v1/messages", 405),
        ("POST", "/v1/mess%61ges?beta=true", 200),
        ("POST", "/admin/v1/%6beys", 401),
        ("POST", "/admin/v1//keys", 404),
    ],
)
async def test_paths_and_methods_mean_what_they_say(
    house: House, method: str, target: str, expected: int
) -> None:
    status, _, body = await said(house, request(BODY, method=method, target=target))
    assert status == expected, body
    assert len(house.asked) == (expected == 200)


KEYS = {
    "both, the same": ((("authorization", "Bearer {one}"), ("x-api-key", "{one}")), 200),
    "both, of two tenants": ((("authorization", "Bearer {one}"), ("x-api-key", "{two}")), 401),
    "the same header twice": ((("x-api-key", "{one}"), ("x-api-key", "{two}")), 401),
    "twice the same": ((("x-api-key", "{one}"), ("X-API-KEY", "{one}")), 401),
    "odd casing": ((("X-aPi-KeY", "{one}"),), 200),
    "bearer in capitals": ((("AUTHORIZATION", "BEARER {one}"),), 200),
    "spaces around": ((("authorization", "Bearer   {one}  "),), 200),
    "no scheme": ((("authorization", "{one}"),), 401),
    "basic": ((("authorization", "Basic {one}"),), 401),
    "a list": ((("authorization", "Bearer {one}, Bearer {two}"),), 401),
    "more after it": ((("x-api-key", "{one} "), ("authorization", "Bearer {one}x")), 401),
    "quoted": ((("x-api-key", '"{one}"'),), 401),
    "not ASCII": ((("x-api-key", "{one}\xe9"),), 401),
    "empty": ((("x-api-key", ""), ("authorization", "Bearer ")), 401),
    "a prefix of it": ((("x-api-key", "{prefix}"),), 401),
    "a tenant by name": ((("x-api-key", "one"), ("x-cacheserver-tenant", "one")), 401),
}


@pytest.mark.parametrize("what", sorted(KEYS))
async def test_a_key_is_one_key_or_none(keyed_house: House, what: str) -> None:
    house = keyed_house
    house.upstream.reset()
    place = sorted(KEYS).index(what)
    one, two = await house.key(f"one-{place}"), await house.key(f"two-{place}")
    sent, expected = KEYS[what]
    headers = [(n, v.format(one=one, two=two, prefix=one[:-1])) for n, v in sent]
    status, _, body = await said(house, request(BODY, headers=headers))
    assert status == expected, body
    assert len(house.asked) == (expected == 200)
    if expected == 200:
        assert came_from(await house.ask(TEXT, key=one))[0] == "exact"
        assert came_from(await house.ask(TEXT, key=two))[0] == "miss"


@pytest.mark.parametrize(
    "headers",
    [
        [("x-cache-namespace", "a"), ("x-cache-namespace", "b")],
        [("x-cache-namespace", "a,b")],
        [("x-cache-namespace", "\xe9")],
        [("x-cache-namespace", "../default")],
        [("x-cache-ttl", "\xb2")],
        [("x-cache-ttl", "1"), ("x-cache-ttl", "1000")],
        [("x-cache-tags", "a b")],
        [("x-cache-task", "a"), ("X-Cache-Task", "b")],
    ],
)
async def test_a_control_that_is_unclear_is_refused(
    house: House, headers: list[tuple[str, str]]
) -> None:
    status, _, _ = await said(house, request(BODY, headers=headers))
    assert status == 400
    assert house.asked == []


@pytest.mark.parametrize(
    ("host", "headers", "expected"),
    [
        ("localhost", [("origin", "http://localhost")], 200),
        ("LOCALHOST:80", [], 200),
        ("evil.example", [], 403),
        ("localhost.evil.example", [], 403),
        ("localhost@evil.example", [], 403),
        ("localhost:80:80", [], 403),
        ("127.0.0.2", [], 403),
        ("localhost", [("host", "evil.example")], 403),
        ("localhost", [("origin", "null")], 403),
        ("localhost", [("origin", "http://localhost.evil.example")], 403),
        ("localhost", [("origin", "http://localhost:81")], 403),
        ("localhost", [("x-forwarded-for", "10.0.0.1")], 401),
    ],
)
async def test_an_open_server_is_this_machines_alone(
    house: House, host: str, headers: list[tuple[str, str]], expected: int
) -> None:
    status, _, _ = await said(house, request(BODY, host=host, headers=headers))
    assert status == expected
    assert len(house.asked) == (expected == 200)


async def test_requests_in_one_packet_are_answered_in_their_order(house: House) -> None:
    texts = [f"Number {n}? [[sim text=answer-{n} slow={0.2 if n == 0 else 0}]]" for n in range(4)]
    async with wire(house) as caller:
        caller.send(b"".join(request(body_of(text)) for text in texts))
        answers = [await caller.answer() for _ in texts]
    told = [json.loads(body)["content"][0]["text"] for _, _, body in answers]
    assert told == [f"answer-{n}" for n in range(4)]


async def test_a_body_may_come_in_drops_and_after_a_100(house: House) -> None:
    whole = request(BODY, headers=[("expect", "100-continue")])
    at = whole.index(b"\r\n\r\n") + 4
    async with wire(house) as caller:
        caller.send(whole[:at])
        assert (await caller.head())[0] == 100
        for byte in whole[at:]:
            caller.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await caller.answer())[0] == 200


async def test_half_a_body_is_nothing(house: House) -> None:
    before = await stats(house)
    async with wire(house) as caller:
        caller.send(request(BODY)[:-10])
        assert (await house.ask("Another?")).status_code == 200
        caller.hang_up()
    found = await stats(house)
    assert (found["requests"] - before["requests"], found["failed"]) == (1, before["failed"])


async def test_a_compressed_body_is_the_body_it_was(house: House) -> None:
    raw = json.dumps(BODY).encode()
    assert (await said(house, request(raw)))[1]["x-cache"] == "miss"
    half = len(raw) // 2
    for packed in (
        gzip.compress(raw, mtime=0),
        gzip.compress(raw[:half], mtime=0) + gzip.compress(raw[half:], mtime=0),
    ):
        for name in ("gzip", "X-GZIP"):
            answer = await said(house, request(packed, headers=[("content-encoding", name)]))
            assert (answer[0], answer[1]["x-cache"]) == (200, "exact")


BOMB = gzip.compress(b" " * 40_000_000, mtime=0)


@pytest.mark.parametrize(
    ("encoding", "packed", "expected", "says"),
    [
        ("gzip", BOMB, 413, "larger than"),
        ("gzip", gzip.compress(b"", mtime=0)[:-4], 400, "no end"),
        ("gzip", gzip.compress(b" " * 1_000, mtime=0)[:-9], 400, "no end"),
        ("gzip", gzip.compress(b"{}", mtime=0) + b"more", 400, "gzip"),
        ("gzip", json.dumps(BODY).encode(), 400, "gzip"),
        ("gzip", gzip.compress(b"", mtime=0) * 65, 400, "members"),
        ("br", b"anything", 415, "'br'"),
        ("zstd", b"anything", 415, "'zstd'"),
        ("gzip, gzip", gzip.compress(b"{}", mtime=0), 415, "'gzip, gzip'"),
    ],
)
async def test_a_body_that_cannot_be_unpacked_is_refused_by_name(
    house: House, encoding: str, packed: bytes, expected: int, says: str
) -> None:
    headers = [("content-encoding", encoding)]
    status, _, body = await said(house, request(packed, headers=headers))
    assert (status, says in json.loads(body)["error"]["message"]) == (expected, True), body
    assert house.asked == []


@pytest.mark.parametrize(
    "lies",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"content-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"content-length: -1\r\n\r\n",
        b"content-length: 0x5\r\n\r\nabcde",
        b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"content-length : 5\r\n\r\nabcde",
    ],
)
async def test_a_request_with_two_lengths_is_refused_and_smuggles_nothing(
    house: House, lies: bytes
) -> None:
    head = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: any\r\n"
    async with wire(house) as caller:
        caller.send(head + lies + request(BODY))
        try:
            status, _, _ = await caller.answer()
        except asyncio.IncompleteReadError:
            status = 400  # closed without a word
        assert status == 400
    assert house.asked == []


async def test_headers_without_end_are_refused(house: House) -> None:
    async with wire(house) as caller:
        caller.send(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx: ")
        try:
            for _ in range(64):
                caller.send(b"x" * 65_536)
                await caller.writer.drain()
            caller.send(b"\r\n\r\n")
            status = (await caller.head())[0]
        except (ConnectionError, asyncio.IncompleteReadError):
            status = 400
    assert status in (400, 431)
    assert (await house.ask("Still there?")).status_code == 200


async def test_a_reader_who_never_reads_holds_up_nobody(house: House) -> None:
    """The fill goes on without it: its slot is free, its answer stored."""
    text = "At length? [[sim words=20000]]"
    slots = house.parts.upstream.slots
    free = slots.in_flight
    async with wire(house) as caller:
        caller.send(request(body_of(text, stream=True, max_tokens=60_000)))
        await caller.head()
        await until(lambda: not under_way(house) and slots.in_flight == free)
        assert came_from(await house.ask(text, max_tokens=60_000))[0] == "exact"


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
async def test_a_wrong_kind_of_key_is_told_how_ours_begin(keyed_house: House, header: str) -> None:
    await keyed_house.key("somebody")
    value = "sk-ant-api03-of-anthropic" if header == "x-api-key" else "Bearer something-else"
    status, _, body = await said(keyed_house, request(BODY, headers=[(header, value)]))
    said_so = json.loads(body)["error"]["message"]
    assert (status, "`cs_`" in said_so, value in said_so) == (401, True, False)
    status, _, body = await said(keyed_house, request(BODY, headers=[]))
    assert (status, "was sent; send one" in json.loads(body)["error"]["message"]) == (401, True)


async def test_a_stream_is_not_gathered_by_a_proxy(house: House) -> None:
    async with wire(house) as caller:
        caller.send(request({**BODY, "stream": True}))
        _, headers = await caller.head()
    assert headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize("framing", [b"content-length: 900000000", b"transfer-encoding: chunked"])
async def test_a_refusal_is_read_by_a_caller_who_still_sends(house: House, framing: bytes) -> None:
    """A server that closes with bytes unread resets the connection, and the answer can be lost."""
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(10):
        async with wire(house) as caller:
            caller.send(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: any\r\n")
            caller.send(framing + b"\r\n\r\n")
            answer = asyncio.create_task(caller.answer())
            more = 40  # pieces, after the answer: several times what the kernel takes for us
            while more:
                caller.send(piece)
                await caller.writer.drain()
                more -= answer.done()
            assert (await answer)[0] == 413
            assert await caller.reader.read() == b""
