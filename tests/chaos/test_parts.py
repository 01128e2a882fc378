"""Parts that make things fail do so, and draw the same for a seed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from cacheserver.simulated import Simulated, SimulatedSettings, serve_simulated
from scripts.chaos_run import schedule
from scripts.chaos_run.history import MODEL, NOTHING, AnswerText, Exchange
from scripts.chaos_run.proxy import Proxy
from scripts.chaos_run.reading import read, results, streamed
from scripts.chaos_run.upstream import Written, say

BODY = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "What?"}]}
HEADERS = {"x-api-key": "sk-ant-any", "anthropic-version": "2026-10-21"}


def test_a_seed_draws_the_same_and_every_kind_comes_before_one_comes_again() -> None:
    assert schedule.hard(1) == schedule.hard(1) != schedule.hard(2)
    first = [planned.kind for planned in schedule.hard(1)[: len(schedule.HARD)]]
    assert sorted(first) == sorted(schedule.HARD)
    upstream = [planned.kind for planned in schedule.upstream(1)[: len(schedule.UPSTREAM)]]
    assert sorted(upstream) == sorted(schedule.UPSTREAM)


@pytest.mark.parametrize(
    ("mode", "status"),
    [("", 200), ("slow", 200), ("429", 429), ("429-long", 429), ("529", 529), ("503", 503)],
)
async def test_the_line_answers_as_it_is_told_to(mode: str, status: int) -> None:
    async with (line := Line(mode)) as http:
        got = await http.post("/v1/messages", json=BODY, headers=HEADERS)
        assert got.status_code == status
        assert got.headers.get("retry-after") == {"429": "1", "429-long": "3600"}.get(mode)
        assert line.proxy.passed == ({} if status == 200 else {got.headers["request-id"]: status})


@pytest.mark.parametrize("mode", ["refuse", "cut"])
async def test_the_line_breaks_as_it_is_told_to(mode: str) -> None:
    async with Line(mode) as http:
        with pytest.raises(httpx2.HTTPError):
            await http.post("/v1/messages", json=BODY, headers=HEADERS)


async def test_a_line_that_hangs_says_nothing_until_the_caller_leaves() -> None:
    async with Line("hang") as http:
        with pytest.raises(httpx2.TimeoutException):
            await http.post("/v1/messages", json=BODY, headers=HEADERS, timeout=0.2)


class Line:
    """A client of a simulated Claude behind the line."""

    def __init__(self, mode: str) -> None:
        self.proxy = Proxy(1)
        self.proxy.mode = mode
        self._stop = asyncio.Event()
        self._open: asyncio.Future[httpx2.AsyncClient] | None = None

    async def __aenter__(self) -> httpx2.AsyncClient:
        self._open = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._serve())
        return await self._open

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._task

    async def _serve(self) -> None:
        assert self._open is not None
        claude = Simulated(SimulatedSettings(direct=say))
        async with (
            serve_simulated(claude) as url,
            self.proxy.url() as at,
            httpx2.AsyncClient(base_url=at, timeout=10) as http,
        ):
            self.proxy.port = int(url.rpartition(":")[2])
            self._open.set_result(http)
            await self._stop.wait()


def test_an_answer_says_for_whom_it_was_made_and_a_cut_one_says_nothing() -> None:
    content = AnswerText.read(
        str(say({**BODY, "metadata": {"user_id": "one/default/shared"}}).text)
    )
    assert content is not None
    assert (content.whose, content.question) == ("one/default/shared", "What?")
    assert AnswerText.read(str(content)) == content
    assert AnswerText.read(str(content)[:-1]) is None


def test_a_stream_that_stops_is_not_whole() -> None:
    whole = 'data: {"type":"content_block_delta","delta":{"text":"a"}}\n\n'
    assert streamed(whole) == ("a", "none")
    assert streamed(whole + 'data: {"type":"message_stop"}\n\n') == ("a", "whole")
    assert streamed(whole + 'data: {"type":"error"}\n\n') == ("a", "error")


EVENT = Exchange(1, 2, "one", "default", "What?", "k1")


def message(text: str, **head: str) -> httpx2.Response:
    body = {"content": [{"type": "thinking", "thinking": "-"}, {"type": "text", "text": text}]}
    return httpx2.Response(200, json=body, headers={"x-cache": "miss", **head})


def test_a_response_is_read() -> None:
    answer = AnswerText("one/default/shared", "What?", "n", 1.0)
    stored = {"x-cache-entry": "e", "x-cache-ttl": "60"}
    event = read(EVENT, message(str(answer), **stored), stream=False)
    assert (event.content, event.stored, event.entry, event.ttl_s) == (answer, True, "e", 60)
    assert not read(EVENT, message(str(answer)), stream=False).stored
    assert read(EVENT, message("half an ans"), stream=False).broken is not None
    error = {"type": "error", "error": {"type": "api_error", "message": "-"}}
    assert read(EVENT, httpx2.Response(500, json=error), stream=False).broken is None
    assert read(EVENT, httpx2.Response(500, text="oops"), stream=False).broken is not None


def test_an_answer_that_says_nothing_is_one_where_it_was_asked_for() -> None:
    event = read(EVENT, message("\u200b"), stream=False)
    assert (event.blank, event.broken is None) == (True, False)
    for question in (f"{NOTHING}, number 1", f"{NOTHING}, number 10", f"{NOTHING}, number 100"):
        text = say({"messages": [{"role": "user", "content": question}]}).text
        event = read(replace(EVENT, question=question), message(text or ""), stream=False)
        assert (event.blank, event.broken) == (True, None)


def test_results_of_a_batch_are_read() -> None:
    answer = AnswerText("one/default/shared", "What?", "n", 1.0)
    content = [{"type": "text", "text": str(answer)}]
    lines = [
        {"custom_id": "a", "result": {"type": "succeeded", "message": {"content": content}}},
        {"custom_id": "b", "result": {"type": "errored", "error": {"type": "error"}}},
    ]
    assert results("\n".join(map(json.dumps, lines))) == {"a": answer}


async def test_what_is_charged_is_on_file_at_once(tmp_path: Path) -> None:
    with (tmp_path / "invoice").open("w") as file:
        claude = Simulated(SimulatedSettings(direct=say))
        claude._claude.books.lines = Written(file)
        async with serve_simulated(claude) as url, httpx2.AsyncClient(base_url=url) as http:
            await http.post("/v1/messages", json=BODY, headers=HEADERS)
        (charged,) = claude.invoice
        assert charged.message_id in (tmp_path / "invoice").read_text()
