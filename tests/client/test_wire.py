"""The pure half of the client: waiting, decoding, reading."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.client import calls, failures
from cacheserver.client import http as wire
from cacheserver.core.types import Usage

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
events = st.lists(st.fixed_dictionaries({"type": texts, "text": texts}), max_size=5)


@given(events, st.sampled_from(["\n", "\r\n"]), st.lists(st.integers(0, 400)))
def test_events_come_out_whole_however_the_bytes_are_cut(
    sent: list[dict[str, Any]], newline: str, cuts: list[int]
) -> None:
    raw = "".join(
        f": ping{newline}event: x{newline}data: {json.dumps(e, ensure_ascii=False)}{newline * 2}"
        for e in sent
    ).encode()
    decoder = wire.EventDecoder()
    edges = sorted({0, *(min(cut, len(raw)) for cut in cuts), len(raw)})
    pieces = [raw[start:end] for start, end in pairwise(edges)]
    assert [event for piece in pieces for event in decoder.feed(piece)] == sent


def test_an_event_of_several_data_lines_is_one() -> None:
    assert list(wire.EventDecoder().feed(b'data: {"type":\ndata:"x"}\n\n')) == [{"type": "x"}]


def test_what_is_no_event_is_left_out() -> None:
    assert list(wire.EventDecoder().feed(b"data: [DONE]\n\ndata: 3\n\n\n\nid: 4\n\n")) == []


@pytest.mark.parametrize(
    ("retries", "jitter", "seconds"),
    [(0, 0, 0.5), (1, 0, 1.0), (2, 0, 2.0), (9, 0, 8.0), (0, 1, 0.375), (9, 1, 6.0)],
)
def test_the_pause_doubles_up_to_its_longest(retries: int, jitter: float, seconds: float) -> None:
    assert wire.pause_s(retries, 529, {}, jitter) == seconds


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry-after": "7"}, 7),
        (429, {"retry-after-ms": "70", "retry-after": "7"}, 0.07),
        (429, {"retry-after": "60"}, 60),
        (429, {"retry-after": "61"}, None),
        (429, {"retry-after": "Sat, 21 Nov 2026 07:28:00 GMT"}, 0.5),
        (429, {"retry-after": "-1"}, 0.5),
        (429, {"retry-after": "nan"}, 0.5),
        (None, {}, 0.5),
        (408, {}, 0.5),
        (500, {}, 0.5),
        (508, {}, None),
        (400, {}, None),
        (404, {"retry-after": "1"}, None),
        (529, {"x-should-retry": "false"}, None),
        (404, {"x-should-retry": "true"}, 0.5),
    ],
)
def test_a_failure_is_tried_again_when_that_may_help(
    status: int | None, headers: dict[str, str], seconds: float | None
) -> None:
    assert wire.pause_s(0, status, headers, 0) == seconds


def test_an_answer_without_money_or_an_entry_has_none() -> None:
    answer = wire.read_answer(200, {}, b'{"text": "", "decision": {}, "cost_usd": "much"}')
    assert (answer.cost_usd, answer.saved_usd, answer.entry_id) == (None, None, None)
    assert answer.usage == Usage()


@given(st.binary(max_size=50), st.integers(100, 599))
def test_no_answer_however_broken_is_more_than_an_error(body: bytes, status: int) -> None:
    failed = failures.failure(status, {}, body)
    assert failed.status == status


def test_thinking_is_not_text() -> None:
    delta = {"type": "thinking_delta", "thinking": "hm", "text": "no"}
    assert wire.text_of({"type": "content_block_delta", "delta": delta}) == ""
    assert wire.text_of({"type": "ping"}) == ""


def test_an_id_cannot_leave_its_path() -> None:
    asked = wire.usage(start="2026-11-01", end=1795000000, group_by=["day", "cause"])
    assert asked.path == "/v1/usage?from=2026-11-01&to=1795000000&group_by=day%2Ccause"
    assert wire.usage().path == "/v1/usage"
    chosen = wire.usage(group_by=["cause"], cause=["exact", "audit"], model="m", target_usd=0.05)
    assert chosen.path == "/v1/usage?group_by=cause&cause=exact%2Caudit&model=m&target_usd=0.05"
    assert calls.path("/v1/decisions", "../stats?x=1") == "/v1/decisions/..%2Fstats%3Fx%3D1"
