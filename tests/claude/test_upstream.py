from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.claude.circuit_breaker import CircuitBreaker
from cacheserver.claude.event_stream import EventSplitter
from cacheserver.claude.upstream import Call, Upstream
from cacheserver.claude.upstream_http import VIA
from cacheserver.core.errors import CircuitOpen, Overloaded, UpstreamError
from cacheserver.simulated import Fault, Simulated, SimulatedSettings, serve_simulated

VERSION = {"anthropic-version": "2026-10-21"}
KEY = "sk-ant-the-servers-own"


def body(text: str = "Capital of France?", **given: Any) -> bytes:
    request = {
        "model": "claude-haiku-5-5",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": text}],
        **given,
    }
    return json.dumps(request).encode()


def call(text: str = "Capital of France?", **given: Any) -> Call:
    return Call(body(text, **given), VERSION)


def upstream(base_url: str, **given: Any) -> Upstream:
    return Upstream(
        **{
            "base_url": base_url,
            "api_key": KEY,
            "name": "url",
            "max_concurrent": 4,
            "max_waiting": 4,
            "timeout_s": 20.0,
            "retries": 0,
            **given,
        }
    )


async def drain(way: Upstream, came: list[bytes]) -> None:
    async with way.stream(call(stream=True)) as reply:
        async for event in reply.events():
            came.append(event)


@dataclass
class Claude:
    """The simulated Claude on a socket, and the way to it."""

    simulated: Simulated
    url: str
    _stack: AsyncExitStack

    def reach(self, **given: Any) -> Upstream:
        made = upstream(self.url, **given)
        self._stack.push_async_callback(made.close)
        return made


@pytest.fixture
async def claude() -> AsyncIterator[Claude]:
    async with AsyncExitStack() as stack:
        simulated = Simulated(SimulatedSettings())
        url = await stack.enter_async_context(serve_simulated(simulated))
        yield Claude(simulated, url, stack)


@dataclass
class Wire:
    """A server that says what it is told, byte for byte, and keeps what it heard."""

    url: str = ""
    heard: list[tuple[str, list[tuple[str, str]], bytes]] = field(default_factory=list)

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.heard[-1][1])


Say = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def wire(say: Say) -> AsyncIterator[Wire]:
    served = Wire()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = [(n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines)]
        length = int(dict(headers).get("content-length", "0"))
        served.heard.append((first, headers, await reader.readexactly(length)))
        await say(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield served


def plain(status: str, content: bytes, headers: str = "") -> Say:
    async def say(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-length: {len(content)}\r\n{headers}\r\n"
        writer.write(head.encode() + content)
        await writer.drain()

    return say


OK = plain("200 OK", b"{}", "content-type: application/json\r\n")


async def test_the_callers_bytes_go_up_untouched_and_claudes_come_back(claude: Claude) -> None:
    raw = b'{"max_tokens":9, "model":"claude-haiku-5-5",\n "a_new_field": [1.0, 1e2],' + (
        b' "messages":[{"role":"user","content":"h\\u00e9"}]}'
    )
    reply = await claude.reach().create(Call(raw, VERSION))
    assert claude.simulated.requests[0].raw == raw
    assert reply.status == 200
    assert json.loads(reply.body)["type"] == "message"
    assert reply.headers["request-id"].startswith("req_")
    assert reply.headers["anthropic-ratelimit-requests-limit"] == "4000"
    assert reply.headers["x-upstream"] == "simulated"
    assert not {"content-length", "date", "server"} & reply.headers.keys()


async def test_the_environment_of_an_application_never_steers_a_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configs = tmp_path / "configs"
    configs.mkdir()
    (tmp_path / "active_config").write_text("work")
    profile = {
        "base_url": "http://127.0.0.1:1/profile",
        "authentication": {"type": "user_oauth"},
        "workspace_id": "wrkspc_profile",
    }
    (configs / "work.json").write_text(json.dumps(profile))
    for name, value in {
        "ANTHROPIC_API_KEY": "sk-of-the-shell",
        "ANTHROPIC_AUTH_TOKEN": "token-of-the-shell",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:1/shell",
        "ANTHROPIC_CUSTOM_HEADERS": "x-api-key: sk-of-the-shell\nx-shell: yes\nvia: shell",
        "ANTHROPIC_CONFIG_DIR": str(tmp_path),
        "ANTHROPIC_PROFILE": "work",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    async with wire(OK) as heard:
        for credential in (None, "sk-of-the-caller"):
            claude = upstream(heard.url)
            await claude.create(Call(body(), VERSION, credential))
            await claude.close()
    for (first, headers, _), key in zip(heard.heard, (KEY, "sk-of-the-caller"), strict=True):
        assert first == "POST /v1/messages HTTP/1.1"
        assert [v for n, v in headers if n == "authorization"] == [f"Bearer {key}"]
        assert [v for n, v in headers if n == "via"] == [VIA]
        assert "shell" not in str(headers)
        assert "profile" not in str(headers)
        assert "x-api-key" not in dict(headers)


async def test_a_call_without_any_key_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-shell")
    async with wire(OK) as heard:
        claude = upstream(heard.url, api_key=None)
        with pytest.raises(UpstreamError) as caught:
            await claude.create(call())
        await claude.close()
    assert caught.value.status == 401
    assert heard.heard == []


async def test_the_callers_version_and_betas_go_up_and_what_is_the_hops_own_does_not() -> None:
    headers = {
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "one-2026-01-01,two-2026-02-02",
        "x-claude-code-session-id": "s1",
        "user-agent": "an-application/1.0",
        "via": "1.1 a-proxy",
        "Authorization": "Bearer ours",
        "x-api-key": "ours",
        "x-cache-ttl": "60",
        "x-cacheserver-key": "ours",
        "x-stainless-lang": "fortran",
        "cache-control": "no-cache",
        "cookie": "a=b",
        "host": "elsewhere.example",
        "content-length": "3",
        "transfer-encoding": "chunked",
        "accept-encoding": "snappy",
    }
    async with wire(OK) as heard:
        claude = upstream(heard.url)
        await claude.create(Call(body(), headers))
        await claude.close()
    sent = heard.headers
    assert sent["anthropic-version"] == "2023-06-01"
    assert sent["anthropic-beta"] == "one-2026-01-01,two-2026-02-02"
    assert sent["x-claude-code-session-id"] == "s1"
    assert sent["user-agent"] == "an-application/1.0"
    assert sent["via"] == f"1.1 a-proxy, {VIA}"
    assert sent["authorization"] == f"Bearer {KEY}"
    assert sent["x-stainless-lang"] == "python"
    assert sent["host"] != "elsewhere.example"
    assert "snappy" not in sent["accept-encoding"]
    assert int(sent["content-length"]) == len(body())
    assert not {
        "x-api-key",
        "x-cache-ttl",
        "x-cacheserver-key",
        "cache-control",
        "cookie",
        "transfer-encoding",
    } & set(sent)


@pytest.mark.parametrize(
    "headers", [{}, {"user-agent": "ours/1", "anthropic-version": "2023-06-01"}]
)
async def test_a_message_goes_up_as_the_sdk_would_send_it(headers: dict[str, str]) -> None:
    async with wire(OK) as heard:
        claude = upstream(heard.url)
        sent = []
        for timeout_s in (None, claude._timeout_s):  # with a limit of its own, by the SDK itself
            await claude.create(Call(body(), headers, timeout_s=timeout_s))
            sent.append(dict(heard.headers))
        await claude.close()
    assert sent[0] == sent[1]
    assert sent[0]["x-stainless-lang"] == "python"


async def test_a_caller_without_a_version_gets_the_sdks() -> None:
    async with wire(OK) as heard:
        claude = upstream(heard.url)
        await claude.create(Call(body(), {}))
        await claude.close()
    assert heard.headers["anthropic-version"] == "2026-10-21"


async def test_a_compressed_answer_comes_back_decoded_and_says_so() -> None:
    packed = gzip.compress(b'{"type":"message"}')
    async with wire(plain("200 OK", packed, "content-encoding: gzip\r\n")) as heard:
        claude = upstream(heard.url)
        reply = await claude.create(call())
        await claude.close()
    assert reply.body == b'{"type":"message"}'
    assert "content-encoding" not in reply.headers


async def test_a_cookie_set_for_one_call_does_not_ride_on_the_next() -> None:
    async with wire(plain("200 OK", b"{}", "set-cookie: id=one; path=/\r\n")) as heard:
        claude = upstream(heard.url)
        await claude.create(call())
        await claude.create(call())
        await claude.close()
    assert "cookie" not in heard.headers


async def test_a_redirect_takes_no_prompt_anywhere() -> None:
    async with wire(OK) as elsewhere:
        to = f"location: {elsewhere.url}/v1/messages\r\n"
        async with wire(plain("307 Temporary Redirect", b"", to)) as heard:
            claude = upstream(heard.url)
            with pytest.raises(UpstreamError) as caught:
                await claude.create(call())
            await claude.close()
    assert caught.value.status == 307
    assert elsewhere.heard == []


@pytest.mark.parametrize("streamed", [False, True])
async def test_claudes_own_error_comes_back_as_it_was(claude: Claude, streamed: bool) -> None:
    claude.simulated.faults.add(Fault("error", status=429, retry_after_s=7))
    way = claude.reach()
    with pytest.raises(UpstreamError) as caught:
        await (drain(way, []) if streamed else way.create(call()))
    error = json.loads(caught.value.body)
    assert caught.value.status == 429
    assert error["error"]["type"] == "rate_limit_error"
    assert error["request_id"] == caught.value.headers["request-id"]
    assert caught.value.headers["retry-after"] == "7"
    assert caught.value.headers["content-type"] == "application/json"


async def test_the_sdks_retries_are_behind_us(claude: Claude) -> None:
    claude.simulated.faults.add(Fault("error", status=529, retry_after_s=0.001, times=2))
    reply = await claude.reach(retries=2).create(call())
    assert reply.status == 200
    assert claude.simulated.counts["/v1/messages"] == 3


ODD = {
    "nan": 0.5,
    "-7": 0.5,
    "0": 0.5,
    "soon": 0.5,
    "Wed, 21 Oct 2015 07:28:00 GMT": 0.5,
    "3": 3,
    "inf": None,
    "1e300": None,
    "Fri, 31 Dec 9999 23:59:59 GMT": None,
    "11": None,
}


@pytest.mark.parametrize("said", sorted(ODD))
async def test_whatever_retry_after_says_the_wait_is_one_of_ours_or_none(said: str) -> None:
    pauses, answers = list[float](), iter([f"retry-after: {said}\r\n", ""])

    async def say(writer: asyncio.StreamWriter) -> None:
        head = next(answers)
        await plain("429 Too Many Requests" if head else "200 OK", b"{}", head)(writer)

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with wire(say) as heard:
        way = upstream(heard.url, retries=2, pause=pause, chance=lambda: 0.0)
        expected = ODD[said]
        if expected is None:
            with pytest.raises(UpstreamError) as caught:
                await way.create(call())
            assert caught.value.headers["retry-after"] == said
            assert "x-should-retry" not in caught.value.headers
            assert pauses == []
        else:
            assert (await way.create(call())).status == 200
            assert pauses == [expected]
        await way.close()


async def test_all_waits_of_a_call_together_are_bounded() -> None:
    pauses = list[float]()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with wire(plain("429 Slow", b"{}", "retry-after: 4\r\n")) as heard:
        way = upstream(heard.url, retries=10, pause=pause, chance=lambda: 0.0)
        with pytest.raises(UpstreamError) as caught:
            await way.create(call())
        await way.close()
    assert pauses == [4, 4]  # 2 are left of 10, and 4 were asked for
    assert caught.value.headers["x-should-retry"] == "false"
    assert caught.value.headers["retry-after"] == "4"
    assert len(heard.heard) == 3


@pytest.mark.parametrize(
    ("method", "path", "tries"),
    [
        ("GET", "/v1/models", 3),
        ("POST", "/v1/messages/count_tokens", 3),
        ("POST", "/v1/messages/batches", 1),
        ("POST", "/v1/messages/batches/b/cancel", 1),
        ("DELETE", "/v1/messages/batches/b", 1),
    ],
)
async def test_what_makes_or_ends_something_is_sent_once(
    method: str, path: str, tries: int
) -> None:
    async def pause(seconds: float) -> None:
        pass

    async with wire(plain("500 Oh", b"{}")) as heard:
        way = upstream(heard.url, retries=2, pause=pause)
        assert (await way.forward(method, path, "", call())).status == 500
        await way.close()
    assert len(heard.heard) == tries


async def test_while_the_circuit_is_open_background_work_asks_nothing_either() -> None:
    told = list[str]()
    async with wire(plain("500 Oh", b"{}")) as heard:
        circuit = CircuitBreaker(share=0.5, least=3, open_s=60, on_event=told.append)
        way = upstream(heard.url, breaker=circuit, on_event=told.append)
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await way.create(call())
        behind = replace(call(), background=True)
        with pytest.raises(CircuitOpen) as caught:
            await way.create_batch(behind)
        assert caught.value.reason == "circuit-open"
        with pytest.raises(CircuitOpen):
            await anext(way.batch_lines("b", behind))
        with pytest.raises(CircuitOpen):
            await way.forward("GET", "/v1/messages/batches", "", behind)
        # What callers pass on says nothing of inference, nor inference of it.
        assert (await way.forward("GET", "/v1/models", "", call())).status == 500
        assert way.slots.in_flight == 0
        await way.close()
    assert len(heard.heard) == 4
    assert told == ["opened", "circuit-open", "circuit-open", "circuit-open"]


async def test_a_retry_that_finds_the_circuit_open_ends_with_what_claude_said() -> None:
    async def pause(seconds: float) -> None:
        pass

    async with wire(plain("503 Oh", b'{"oh": 1}')) as heard:
        circuit = CircuitBreaker(share=0.5, least=2, open_s=60)
        way = upstream(heard.url, retries=9, breaker=circuit, pause=pause)
        with pytest.raises(UpstreamError) as caught:
            await way.create(call())
        await way.close()
    assert (caught.value.status, caught.value.body, len(heard.heard)) == (503, b'{"oh": 1}', 2)
    assert caught.value.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("sent", [True, False])
async def test_a_stopped_call_tells_whether_it_may_be_billed(sent: bool) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def say(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await answer.wait()

    async with wire(say) as heard:
        way = upstream(heard.url, max_concurrent=1)
        first, second = call(), call()
        asking = [asyncio.create_task(way.create(one)) for one in (first, second)]
        await asked.wait()
        asking[0 if sent else 1].cancel()
        await asyncio.wait({asking[0 if sent else 1]})
        assert (first if sent else second).tries.unanswered == sent
        asking[1 if sent else 0].cancel()
        answer.set()
        await asyncio.gather(*asking, return_exceptions=True)
        await way.close()


async def test_an_answer_that_does_not_come_in_time_is_a_504(claude: Claude) -> None:
    claude.simulated.faults.add(Fault("hang"))
    with pytest.raises(UpstreamError) as caught:
        await claude.reach(timeout_s=0.05).create(call())
    assert caught.value.status == 504
    assert json.loads(caught.value.body)["error"]["type"] == "timeout_error"


async def test_a_call_may_bring_its_own_timeout(claude: Claude) -> None:
    claude.simulated.faults.add(Fault("hang"))
    with pytest.raises(UpstreamError) as caught:
        await claude.reach().create(Call(body(), VERSION, timeout_s=0.05))
    assert caught.value.status == 504


async def test_a_connection_that_is_refused_or_lost_is_a_502(claude: Claude) -> None:
    claude.simulated.faults.add(Fault("cut"))
    with pytest.raises(UpstreamError) as lost:
        await claude.reach().create(call())
    async with wire(OK) as gone:
        pass
    nobody = upstream(gone.url)
    with pytest.raises(UpstreamError) as refused:
        await nobody.create(call())
    await nobody.close()
    for caught in (lost, refused):
        assert caught.value.status == 502
        assert json.loads(caught.value.body)["error"]["type"] == "api_error"


async def test_a_stream_gives_whole_events_as_they_came(claude: Claude) -> None:
    async with claude.reach().stream(call(stream=True)) as reply:
        events = [event async for event in reply.events()]
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["request-id"].startswith("req_")
    names = [re.match(rb"event: (\w+)\n", event) for event in events]
    assert [name and name[1] for name in names][:4] == [
        b"message_start",
        b"content_block_start",
        b"ping",
        b"content_block_delta",
    ]
    assert all(event.endswith(b"\n\n") for event in events)
    assert b"message_stop" in events[-1]


async def test_events_are_there_before_the_stream_ends(claude: Claude) -> None:
    claude.simulated.faults.add(Fault("hang", after_events=2))
    async with claude.reach().stream(call(stream=True)) as reply:
        events = reply.events()
        assert b"message_start" in await anext(events)
        assert b"content_block_start" in await anext(events)


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Fault("cut", after_events=3), 502), (Fault("hang", after_events=3), 504)],
)
async def test_a_stream_that_breaks_off_is_an_error_after_what_came(
    claude: Claude, fault: Fault, status: int
) -> None:
    claude.simulated.faults.add(fault)
    came: list[bytes] = []
    with pytest.raises(UpstreamError) as caught:
        await drain(claude.reach(timeout_s=0.1), came)
    assert (len(came), caught.value.status) == (3, status)


async def test_an_error_event_is_an_event_like_any_other(claude: Claude) -> None:
    claude.simulated.faults.add(Fault("broken", after_events=1))
    async with claude.reach().stream(call(stream=True)) as reply:
        events = [event async for event in reply.events()]
    assert events[-1].startswith(b"event: error\n")


async def test_beyond_the_queue_a_call_is_turned_away_and_slots_come_back(claude: Claude) -> None:
    way = claude.reach(max_concurrent=1, max_waiting=1)
    async with way.stream(call(stream=True)):  # holds the slot until it is closed
        waiting = asyncio.create_task(way.create(call()))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await way.create(call())
        with pytest.raises(Overloaded):
            async with way.stream(call(stream=True)):
                pass
        assert not waiting.done()
    assert (await waiting).status == 200
    assert (await way.create(call())).status == 200


async def test_a_cancelled_call_gives_its_slot_back() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def say(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await answer.wait()
        await OK(writer)

    async with wire(say) as heard:
        way = upstream(heard.url, max_concurrent=1, max_waiting=1)
        hanging = asyncio.create_task(way.create(call()))
        await asked.wait()
        queued = asyncio.create_task(way.create(call()))
        await asyncio.sleep(0)
        queued.cancel()
        hanging.cancel()
        await asyncio.gather(hanging, queued, return_exceptions=True)
        answer.set()
        assert (await way.create(call())).status == 200
        assert len(heard.heard) == 2
        await way.close()


async def test_a_forwarded_request_brings_back_whatever_status(claude: Claude) -> None:
    way = claude.reach()
    models = await way.forward("GET", "/v1/models", "limit=2", Call(b"", VERSION))
    assert (models.status, len(json.loads(models.body)["data"])) == (200, 2)
    assert claude.simulated.requests[-1].query == "limit=2"
    counted = await way.forward("POST", "/v1/messages/count_tokens", "", call())
    assert json.loads(counted.body)["input_tokens"] > 0
    missing = await way.forward("GET", "/v1/models/none", "", Call(b"", VERSION))
    assert (missing.status, json.loads(missing.body)["error"]["type"]) == (404, "not_found_error")
    gone = await way.forward("DELETE", "/v1/messages/batches/b", "", Call(b"", VERSION))
    assert gone.status == 404


async def test_after_close_a_call_fails_as_an_upstream_does(claude: Claude) -> None:
    way = claude.reach()
    await way.close()
    await way.close()
    with pytest.raises(UpstreamError) as caught:
        await way.create(call())
    assert caught.value.status == 502


async def test_prompts_and_keys_stay_out_of_the_sdks_debug_log(
    claude: Claude, caplog: pytest.LogCaptureFixture
) -> None:
    claude.simulated.faults.add(Fault("error", status=500))
    with caplog.at_level(logging.DEBUG):
        way = claude.reach()
        with pytest.raises(UpstreamError):
            await way.create(call("a secret question"))
        await way.create(call("a secret question"))
        # With a limit of its own a call is the SDK's from the beginning.
        await way.create(replace(call("a secret question"), timeout_s=30))
    assert "Request options" in caplog.text
    assert "secret" not in caplog.text
    assert KEY not in caplog.text


def test_the_identity_tells_claudes_apart_without_the_key() -> None:
    def identity(**given: Any) -> str:
        return upstream(**{"base_url": "https://api.anthropic.com", **given}).identity

    assert identity() == identity(base_url="https://api.anthropic.com/")
    assert identity() != identity(api_key="sk-ant-another")
    assert identity() != identity(base_url="https://gateway.example/anthropic")
    assert KEY not in identity()
    simulated = {"name": "simulated", "api_key": "simulated"}
    assert identity(base_url="http://127.0.0.1:1", **simulated) == identity(
        base_url="http://127.0.0.1:2", **simulated
    )


LINE_END = st.sampled_from([b"\n", b"\r\n", b"\r"])
WORDS = st.binary(max_size=6).map(lambda word: re.sub(rb"[\r\n]", b"", word))


@given(
    st.lists(st.tuples(st.lists(WORDS.filter(bool), min_size=1, max_size=3), LINE_END), max_size=5),
    st.lists(st.integers(1, 9), max_size=60),
)
def test_events_are_the_same_however_the_bytes_are_cut(
    written: list[tuple[list[bytes], bytes]], cuts: list[int]
) -> None:
    events = [b"".join(line + end for line in lines) + end for lines, end in written]
    stream = b"".join(events)
    splitter = EventSplitter()
    found = []
    at = 0
    for size in [*cuts, len(stream)]:
        found += splitter.feed(stream[at : at + size])
        at += size
    found += splitter.end()
    assert found == events


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n"]), max_size=40), st.data())
def test_nothing_is_lost_or_moved_whatever_comes(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts) + b"\n\n"
    whole = EventSplitter()
    expected = whole.feed(stream) + whole.end()
    assert b"".join(expected) == stream
    cut = data.draw(st.integers(0, len(stream)))
    halves = EventSplitter()
    assert halves.feed(stream[:cut]) + halves.feed(stream[cut:]) + halves.end() == expected


def test_a_stream_that_ends_inside_an_event_is_an_error() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: a\n\ndata: b\n") == [b"data: a\n\n"]
    with pytest.raises(UpstreamError):
        splitter.end()


def test_an_event_without_end_is_refused() -> None:
    splitter = EventSplitter(max_bytes=10)
    assert splitter.feed(b"data: abc\n\n") == [b"data: abc\n\n"]
    with pytest.raises(UpstreamError):
        splitter.feed(b"data: abcdef")
