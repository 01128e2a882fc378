"""What is logged: a line each, with its request, and never a word of a prompt."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core import request_context
from cacheserver.core.request_context import RequestContext
from cacheserver.observability import logs
from tests.house import House
from tests.observability.conftest import CANARY, Lines


def record(message: str, *args: object, name: str = "test", **given: Any) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, "a.py", 1, message, args, None)
    for key, value in given.items():
        setattr(made, key, value)
    return made


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_whatever_a_value_holds_a_record_is_one_line_of_json(
    value: str, fields: dict[str, str]
) -> None:
    line = logs.Json().format(record("said %s", value, fields=fields))
    assert len(line.splitlines()) == 1
    told = json.loads(line)
    assert fields.items() <= told.items()
    assert "message" in fields or told["message"] == f"said {value}"


@given(st.text())
def test_whatever_a_value_holds_a_record_is_one_line_of_text(value: str) -> None:
    line = logs.Text().format(record("said %s", value))
    assert len(line.splitlines()) == 1
    assert all(sign.isprintable() or not sign.isascii() for sign in line)


@pytest.mark.parametrize("form", [logs.Json(), logs.Text()])
def test_of_an_exception_the_kind_and_place_are_told_and_no_message(
    form: logging.Formatter,
) -> None:
    try:
        try:
            json.loads(CANARY)
        except ValueError as error:
            raise RuntimeError(CANARY) from error
    except RuntimeError:
        line = form.format(record("it failed", exc_info=sys.exc_info()))
    assert CANARY not in line
    assert "RuntimeError at test_logs.py:" in line
    assert "JSONDecodeError" in line


async def test_a_task_that_failed_unseen_is_logged_without_its_words(lines: Lines) -> None:
    async def fail(asked: str) -> None:
        raise ValueError(asked)

    loop, task = asyncio.get_running_loop(), asyncio.create_task(fail(CANARY))
    await asyncio.wait([task])
    told = f"Task exception was never retrieved {CANARY}"
    loop.call_exception_handler({"message": told, "exception": task.exception(), "future": task})
    (line,) = lines.of("asyncio")
    assert line["message"] == "a task or a callback failed"
    assert line["error"]["type"] == "ValueError"
    assert CANARY not in lines.stream.getvalue()


def test_times_are_utc_and_end_in_z() -> None:
    made = record("now")
    made.created = 1_790_000_000.25
    assert json.loads(logs.Json().format(made))["time"] == "2026-09-21T14:13:20.250Z"


def test_lines_of_a_request_name_it_and_others_name_none() -> None:
    form = logs.Json()
    before = json.loads(form.format(record("before")))
    assert before.keys() == {"time", "level", "logger", "message"}
    token = request_context._current.set(RequestContext("GET", id="req_1", decision_id="dec_1"))
    try:
        told = json.loads(form.format(record("within")))
    finally:
        request_context._current.reset(token)
    assert (told["request_id"], told["decision_id"]) == ("req_1", "dec_1")


async def test_each_request_is_a_line_that_says_what_its_headers_say(
    tmp_path: Path, lines: Lines
) -> None:
    async with House.open(tmp_path, access_log="on") as house:
        for text in ("What is the capital of France?",) * 2 + ("What's the capital of France?",):
            answer = await house.ask(text)
            line = lines.of("cacheserver.access")[-1]
            assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/messages", 200)
            assert line["request_id"] == answer.headers["request-id"]
            assert line["decision_id"] == answer.headers["x-cache-decision"]
            assert line["outcome"] == answer.headers["x-cache"]
            assert line["reason"] == answer.headers["x-cache-reason"]
            assert line["cost_usd"] == answer.headers["x-cost-usd"]
            assert (line["tenant"], line["model"]) == ("default", "claude-haiku-5-5")
            assert 0 < line["duration_ms"] < 60_000
        assert [line["outcome"] for line in lines.of("cacheserver.access")] == [
            *("miss", "exact", "semantic")
        ]
        assert line["similarity"] == float(answer.headers["x-cache-similarity"])


async def test_a_request_that_is_refused_or_goes_nowhere_is_a_line_too(
    tmp_path: Path, lines: Lines
) -> None:
    async with House.open(tmp_path, access_log="on") as house:
        await house.key("shop")
        refused = await house.ask(key="cs_wrong")
        nowhere = await house.http.get(f"/{CANARY}?{CANARY}=1")
        await house.http.get("/healthz")
    first, second, third = lines.of("cacheserver.access")
    assert (first["status"], first["outcome"], first["reason"]) == (401, "bypass", "refused")
    assert first["request_id"] == refused.headers["request-id"]
    assert (second["status"], second["route"]) == (404, None)
    assert second["request_id"] == nowhere.headers["request-id"]
    assert (third["route"], third["level"]) == ("/healthz", "debug")
    assert CANARY not in lines.stream.getvalue()


async def test_a_stream_is_told_of_when_it_has_ended_and_says_when_it_was_left(
    tmp_path: Path, lines: Lines
) -> None:
    async with House.open(tmp_path, access_log="on") as house:
        answer = await house.ask(stream=True)
        (line,) = lines.of("cacheserver.access")
        assert (line["outcome"], line["abandoned"]) == ("miss", False)
        assert line["decision_id"] == answer.headers["x-cache-decision"]
        assert line["output_tokens"] > 0
        body = {
            "model": "claude-haiku-5-5",
            "max_tokens": 100,
            "stream": True,
            "messages": [{"role": "user", "content": "Slow? [[sim hang=3 words=20]]"}],
        }
        headers = {"cache-control": "no-store"}
        async with house.http.stream(
            "POST", "/v1/messages", json=body, headers=headers
        ) as response:
            await anext(response.aiter_bytes())
    left = lines.of("cacheserver.access")[1]
    assert (left["status"], left["abandoned"]) == (200, True)
    assert left["decision_id"] == response.headers["x-cache-decision"]


async def test_without_being_asked_for_no_request_is_a_line(tmp_path: Path, lines: Lines) -> None:
    async with House.open(tmp_path) as house:
        await house.ask()
    assert lines.of("cacheserver.access") == []


async def test_an_error_of_ours_names_the_request_its_caller_saw(
    tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with House.open(tmp_path, access_log="on") as house:

        def fail(*_: Any) -> Any:
            raise RuntimeError(CANARY)

        monkeypatch.setattr(house.parts.service, "look_up", fail)
        answer = await house.ask(CANARY)
    assert answer.status_code == 500
    (error,) = lines.of("cacheserver.api.boundary")
    (access,) = lines.of("cacheserver.access")
    assert error["request_id"] == access["request_id"] == answer.headers["request-id"]
    assert error["decision_id"].startswith("dec_")
    assert access["status"] == 500
    assert CANARY not in lines.stream.getvalue()


@pytest.mark.parametrize(
    ("sent", "passed_on"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later", True),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", False),
        ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", False),
        (CANARY, False),
    ],
)
async def test_a_callers_place_in_a_trace_goes_on_to_claude_and_nothing_else_of_it(
    house: House, sent: str, passed_on: bool
) -> None:
    headers = {"traceparent": sent, "tracestate": f"vendor={CANARY}", "baggage": f"a={CANARY}"}
    await house.ask(headers=headers)
    (asked,) = house.asked
    expected = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert asked.headers.get("traceparent") == (expected if passed_on else None)
    assert CANARY not in str(asked.headers)


async def test_who_sends_no_trace_has_none_sent_on(house: House) -> None:
    await house.ask()
    (asked,) = house.asked
    assert "traceparent" not in asked.headers
