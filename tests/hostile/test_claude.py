"""A Claude, or what stands in between, that answers nonsense: nobody is hurt, nothing kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from cacheserver.claude import sse
from tests.hostile.claude import EVENTS, JSON, MESSAGE, Script, scripted
from tests.hostile.raw import body_of, outcomes, request, stats, under_way, until, wire
from tests.house import House


async def test_streams_come_as_they_were_sent_and_use_a_connection_again(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (house, claude):
        claude.kind, claude.body = EVENTS, b"".join(sse.replay(MESSAGE))
        for n in range(3):
            answer = await house.ask(f"Question {n}?", stream=True)
            assert answer.content == claude.body
        assert (claude.asked, claude.connections) == (3, 1)


async def test_who_has_seen_the_end_of_a_stream_finds_it_stored(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (house, claude), wire(house) as caller:
        claude.kind, claude.body = EVENTS, b"".join(sse.replay(MESSAGE))
        for n in range(10):
            caller.send(request(body_of(f"Question {n}?", stream=True)))
            await caller.reader.readuntil(b'{"type":"message_stop"}')
            answer = await house.ask(f"Question {n}?")
            assert answer.headers["x-cache"] == "exact"
            await caller.reader.readuntil(b"0\r\n\r\n")
        assert claude.asked == 10


async def test_what_was_not_to_be_stored_says_so(house: House) -> None:
    answer = await house.ask(headers={"cache-control": "no-store"})
    record = await house.http.get(f"/v1/decisions/{answer.headers['x-cache-decision']}")
    assert (record.json()["unstored"], record.json()["entry_id"]) == ("bypass", None)


WHOLE = {
    "a page": b"<html>Sign in</html>",
    "nothing": b"",
    "a list": b"[1]",
    "an empty object": b"{}",
    "no content": json.dumps({**MESSAGE, "content": None}).encode(),
    "no usage": json.dumps({**MESSAGE, "usage": None}).encode(),
    "strange usage": json.dumps({**MESSAGE, "usage": {"input_tokens": "x"}, "model": 3}).encode(),
    "enormous usage": json.dumps(
        {**MESSAGE, "usage": {"input_tokens": 10**17, "output_tokens": 10**30}}
    ).encode(),
    "half pairs": json.dumps({**MESSAGE, "model": "\ud800", "id": "\udfff"}).encode(),
    "strange blocks": json.dumps({**MESSAGE, "content": [3, {"type": 4}, {}]}).encode(),
    "no words": json.dumps({**MESSAGE, "content": [{"type": "text"}]}).encode(),
    "deep": b'{"type":"message","content":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a long number": b'{"type":"message","content":[],"n":' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("what", sorted(WHOLE))
async def test_an_answer_that_is_no_message_hurts_nobody(tmp_path: Path, what: str) -> None:
    async with scripted(tmp_path) as (house, claude):
        claude.body = WHOLE[what]
        await _asked_by_four(house, claude, "Whole?")


STREAMS = {
    "nothing": b"",
    "a page": b"<html>Sign in</html>\n\n",
    "no start": sse.encode({"type": "message_stop"}),
    "an empty start": b"event: message_start\ndata: {}\n\n" + sse.encode({"type": "message_stop"}),
    "a start of null": b'event: message_start\ndata: {"type":"message_start","message":null}\n\n',
    "two starts": 2 * next(sse.replay(MESSAGE)),
    "a deep event": b'event: message_start\ndata: {"type":' + b"[" * 5000 + b"]" * 5000 + b"}\n\n",
    "not UTF-8": b"event: message_start\ndata: \xff\xfe\n\n",
    "an error of no kind": b'event: error\ndata: {"type":"error","error":null}\n\n',
    "an error that is a word": b'event: error\ndata: {"type":"error","error":"busy"}\n\n',
    "a message, whole": json.dumps(MESSAGE).encode(),
}


@pytest.mark.parametrize("what", sorted(STREAMS))
async def test_a_stream_that_is_none_hurts_nobody(tmp_path: Path, what: str) -> None:
    async with scripted(tmp_path) as (house, claude):
        claude.kind, claude.body = EVENTS, STREAMS[what]
        await _asked_by_four(house, claude, "Streamed?", leader_streams=True)


async def _asked_by_four(
    house: House, claude: Script, text: str, *, leader_streams: bool = False
) -> None:
    """One asks, three join: all get an end, each is counted once, the next one is asked anew."""
    claude.go.clear()
    asking = [asyncio.create_task(_ask(house, text, stream=leader_streams))]
    await until(lambda: claude.asked == 1)
    asking += [asyncio.create_task(_ask(house, text, stream=n % 2 == 0)) for n in range(3)]
    await until(lambda: _readers(house) == 4)
    claude.go.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*asking)
    assert under_way(house) == 0
    found = await stats(house)
    outcomes(found)
    assert found["requests"] == 4
    claude.kind, claude.body = JSON, json.dumps(MESSAGE).encode()
    asked = claude.asked
    answer = await house.ask(text)
    assert answer.status_code == 200
    if answer.headers["x-cache"] == "miss":
        assert claude.asked == asked + 1
        assert answer.json()["content"] == MESSAGE["content"]


async def _ask(house: House, text: str, *, stream: bool) -> None:
    """Read to the end: JSON, whole events, or a lost connection; nothing that only looks right."""
    async with wire(house) as caller:
        caller.send(request(body_of(text, stream=stream)))
        try:
            status, headers, body = await caller.answer()
        except asyncio.IncompleteReadError:
            return  # cut: a client knows
    leads = headers.get("x-cache") == "miss"
    if status == 200 and not leads and headers["content-type"] == JSON:
        json.loads(body)


def _readers(house: House) -> int:
    return sum(flight.readers for flight in house.parts.service._flights._running.values())


CUT = b"".join(list(sse.replay(MESSAGE))[:-2])  # a clean end of the stream, in the middle


async def test_nobody_is_given_half_an_answer_as_a_whole_one(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (house, claude):
        claude.kind, claude.body = EVENTS, CUT
        claude.go.clear()
        leading = asyncio.create_task(house.ask("Half?", stream=True))
        await until(lambda: claude.asked == 1)
        joining = [asyncio.create_task(house.ask("Half?")) for _ in range(2)]
        await until(lambda: _readers(house) == 3)
        claude.go.set()
        told = (await leading).content  # what came, and that it broke off
        assert told.startswith(CUT + b"event: error\n")
        assert [(await j).status_code for j in joining] == [502, 502]
        assert outcomes(await stats(house)) == {"failed": 3}


async def test_nobody_is_given_a_copy_of_what_is_no_message(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (house, claude):
        claude.body = b"{}"
        claude.go.clear()
        leading = asyncio.create_task(house.ask("None?"))
        await until(lambda: claude.asked == 1)
        whole = asyncio.create_task(house.ask("None?"))
        streamed = asyncio.create_task(house.ask("None?", stream=True))
        await until(lambda: _readers(house) == 3)
        claude.go.set()
        assert (await leading).content == b"{}"
        assert (await whole).status_code == 502
        refused = await streamed
        assert refused.status_code == 502 or refused.text.startswith("event: error\n")


async def test_a_stream_with_what_we_do_not_know_is_passed_on_and_not_stored(
    tmp_path: Path,
) -> None:
    async with scripted(tmp_path) as (house, claude):
        events = list(sse.replay(MESSAGE))
        events.insert(1, sse.encode({"type": "of_tomorrow"}))
        claude.kind, claude.body = EVENTS, b"".join(events)
        for asked in (1, 2):
            answer = await house.ask("Tomorrow?", stream=True)
            assert (answer.content, answer.headers["x-cache"]) == (claude.body, "miss")
            assert claude.asked == asked
