"""Bodies, headers and events that nobody would write: refused in our words, and never a 500."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheserver.claude import sse
from cacheserver.claude.event_stream import EventSplitter
from cacheserver.core.errors import UpstreamError
from cacheserver.core.rules.declared import DeclaredRules
from tests.house import MODEL, House

# The same each time, so that a change that breaks something is what broke it.
FUZZ = settings(derandomize=True, database=None, max_examples=120)

# What may be answered to whoever sends nonsense; 500 is our fault, 502 and 504 would be Claude's.
STATUSES = {200, 202, 400, 401, 402, 404, 408, 411, 413, 415, 431}

ODD: list[Any] = [
    *(None, True, False, 0, -1, 2**63, 2**64, 1e308, 0.1),
    *("", " ", "\x00", "\ud800", "\u200b", "a" * 300),
    *([], {}, [[]], [None], {"type": None}, {"": ""}, {"type": "text"}, {"type": ["text"]}),
]
odd = st.sampled_from(ODD)
values = st.recursive(
    odd | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)

MESSAGES: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 20,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": [{"type": "text", "text": "Two."}]},
        {"role": "user", "content": [{"type": "text", "text": "Three?"}]},
    ],
    "metadata": {"user_id": "u1"},
    "stop_sequences": ["x"],
    "tools": [{"name": "t", "description": "d", "input_schema": {"type": "object"}}],
    "stream": False,
}
QUERY: dict[str, Any] = {
    "prompt": "One?", "system": "Be brief.", "model": "auto", "max_tokens": 20, "ttl_s": 5,
    "tags": ["a"], "namespace": "n", "cache": "default", "stream": False, "task": "t",
    "check": {"json": True, "schema": {"type": "object"}, "one_of": ["a"], "min_chars": 1},
    "when": "now", "deadline": 60, "conversation": "c", "actor": "a", "levers_off": ["routing"],
    "question": "Two?", "context": ["kb@v1"], "context_blocks": ["system", "messages.-1"],
    "schema": {"type": "object"},
}  # fmt: skip
MARKED: dict[str, Any] = {
    **MESSAGES,
    "system": [{"type": "text", "text": "Be brief.", "cache_context": True}],
    "messages": [
        {"role": "user", "content": "One?", "cache_context": True},
        {"role": "user", "content": [{"type": "text", "text": "Two?", "cache_context": True}]},
    ],
    "cache_question": "Two?",
    "cache_context": ["kb@v1"],
}
HEADERS = (
    "cache-control", "x-cache-ttl", "x-cache-tags", "x-cache-namespace", "x-cache-task",
    "x-cache-question", "x-cache-context", "x-cache-context-blocks",
    "x-cache-actor", "x-cache-deep-analysis", "x-cache-check", "x-cache-off", "x-cache-nonsense",
    "anthropic-beta", "anthropic-version", "content-type", "accept", "authorization",
)  # fmt: skip


def places(body: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value in a body."""
    inside = body.items() if isinstance(body, dict) else enumerate(body)
    found = []
    for key, value in inside:
        found.append((*at, key))
        if isinstance(value, dict | list):
            found += places(value, (*at, key))
    return found


def copied(value: Any) -> Any:
    """A value of its own: what is changed later is not what others draw."""
    return json.loads(json.dumps(value))


@st.composite
def mutated(draw: st.DrawFn, body: dict[str, Any]) -> dict[str, Any]:
    """The body with a value or two replaced, removed or added."""
    copy: dict[str, Any] = copied(body)
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(places(copy)))
        inner: Any = copy
        for step in way:
            inner = inner[step]
        match draw(st.sampled_from(("replace", "remove", "add"))):
            case "remove":
                del inner[last]
            case "add" if isinstance(inner, dict):
                inner[draw(st.text(max_size=10))] = copied(draw(values))
            case _:
                inner[last] = copied(draw(values))
        if not copy:
            break
    return copy


@st.composite
def bodies(draw: st.DrawFn, body: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """A body as bytes, and the headers that go with it."""
    match draw(st.sampled_from(("mutated",) * 6 + ("any", "raw", "cut", "gzip", "no gzip"))):
        case "raw":
            return draw(st.binary(max_size=60)), {}
        case "any":
            return json.dumps(draw(values)).encode(), {}
        case how:
            raw = json.dumps(draw(mutated(body))).encode()
    if how == "cut":
        raw = raw[: draw(st.integers(0, len(raw)))]
    if how == "gzip":
        return gzip.compress(raw), {"content-encoding": "gzip"}
    if how == "no gzip":
        return raw, {"content-encoding": draw(st.sampled_from(("gzip", "br", "deflate", "x")))}
    return raw, {}


def well(answer: httpx2.Response) -> None:
    """An answer of ours: one of the statuses, in the shape that goes with it."""
    assert answer.status_code in STATUSES, (answer.status_code, answer.text[:300])
    if answer.status_code < 400:
        return
    body = answer.json()
    assert body["type"] == "error"
    assert body["error"]["message"]
    assert answer.headers["content-type"].startswith("application/json")
    assert body["request_id"]
    assert "Traceback" not in answer.text


async def declaring(house: House) -> None:
    """Switch declared questions on: what is off is refused before it is read."""
    tenant = await house.parts.tenants.get("default")
    declared = DeclaredRules(enabled=True)
    await house.parts.tenants.put(replace(tenant, declared=declared))


async def through(house: House, prove: Callable[[httpx2.Client], None]) -> None:
    """Run a property against the server, which goes on in this loop meanwhile."""

    def run() -> None:
        with httpx2.Client(base_url=house.url, timeout=30, headers={"x-api-key": "any"}) as http:
            prove(http)

    await asyncio.to_thread(run)
    assert (await house.http.get("/readyz")).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", MESSAGES),
        ("/v1/messages", MARKED),
        ("/v1/query", QUERY),
        ("/v1/messages/batches", {"requests": [{"custom_id": "a", "params": MESSAGES}]}),
        ("/v1/messages/count_tokens", MESSAGES),
        ("/v1/lint", MESSAGES),
        ("/v1/estimate", MESSAGES),
    ],
)
async def test_a_body_of_nonsense_is_refused_in_our_words(
    house: House, path: str, body: dict[str, Any]
) -> None:
    def prove(http: httpx2.Client) -> None:
        @FUZZ
        @given(sent=bodies(body))
        def never_a_500(sent: tuple[bytes, dict[str, str]]) -> None:
            raw, headers = sent
            well(http.post(path, content=raw, headers=headers))

        never_a_500()

    await declaring(house)
    await through(house, prove)


async def test_headers_of_nonsense_are_refused_in_our_words(house: House) -> None:
    # What HTTP can carry at all; the rest never reaches us.
    written = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"))
    meant = st.sampled_from(
        (
            "0",
            "-1",
            "1e3",
            "max-age=",
            "no-store, no-cache",
            "max-age=9" * 50,
            "{",
            "[]",
            '{"a":[]}',
            "true",
            "a,b,,",
            "default",
            '{"schema":{"type":[[]]}}',
            "only-if-cached",
            "UTF-8''%zz",
            "UTF-8''caf%C3%A9",
            "messages.-1,system.0",
        )
    )
    headers = st.dictionaries(st.sampled_from(HEADERS), meant | written, min_size=1, max_size=3)

    def prove(http: httpx2.Client) -> None:
        @FUZZ
        @given(headers=headers, path=st.sampled_from(("/v1/messages", "/v1/query")))
        def never_a_500(headers: dict[str, str], path: str) -> None:
            body = {"prompt": "One?"} if path == "/v1/query" else MESSAGES
            raw = [(n.encode(), v.strip().encode("latin-1")) for n, v in headers.items()]
            well(http.post(path, json=body, headers=raw))

        never_a_500()

    await declaring(house)
    await through(house, prove)


event_bytes = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"data: ", b"event: x", b"{}", b"[", b'{"type":', b":"])
    | st.binary(max_size=6)
)


@given(st.data(), event_bytes)
def test_events_are_the_same_however_the_bytes_come(
    data: st.DataObject, parts: list[bytes]
) -> None:
    raw = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert split(pieces) == split([raw])


def split(pieces: list[bytes]) -> tuple[list[bytes], bool]:
    """The events, and whether the end came within one. Together they are the bytes that came."""
    splitter = EventSplitter()
    events = [event for piece in pieces for event in splitter.feed(piece)]
    try:
        events += splitter.end()
    except UpstreamError:
        return events, True
    assert b"".join(events) == b"".join(pieces)
    return events, False


_KINDS = (
    "message_start", "content_block_start", "content_block_delta", "content_block_stop",
    "message_delta", "message_stop", "ping", "error", "of_tomorrow",
)  # fmt: skip
_FIELDS = ("index", "message", "content_block", "delta", "usage", "error")


@given(
    st.lists(
        st.fixed_dictionaries(
            {"type": st.sampled_from(_KINDS) | values},
            optional=dict.fromkeys(_FIELDS, values),
        )
    )
)
def test_no_event_breaks_what_folds_them(events: list[dict[str, Any]]) -> None:
    fold = sse.Fold()
    for event in events:
        raw = b"data: " + json.dumps(event).encode() + b"\n\n"
        decoded = sse.decode(raw)
        if decoded is not None:
            fold.feed(decoded)
    if not any(event["type"] == "message_stop" for event in events):
        assert not fold.complete
