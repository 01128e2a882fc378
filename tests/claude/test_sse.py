"""Messages and stream events, both ways: what is replayed folds back into the same message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.claude import sse

words = st.text(max_size=12)
inputs = st.dictionaries(words, st.integers() | words | st.lists(words, max_size=2), max_size=3)
citations = st.lists(
    st.fixed_dictionaries({"type": st.just("char_location"), "cited_text": words}), max_size=2
)
blocks = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": words, "citations": st.none()}),
    st.builds(
        lambda text, cited: {"type": "text", "text": text, "citations": cited or None},
        words,
        citations,
    ),
    st.fixed_dictionaries(
        {"type": st.just("thinking"), "thinking": words, "signature": st.text(min_size=1)}
    ),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": words}),
    st.fixed_dictionaries(
        {"type": st.just("tool_use"), "id": words, "name": words, "input": inputs}
    ),
)
messages: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "id": st.just("msg_1"),
        "type": st.just("message"),
        "role": st.just("assistant"),
        "model": st.just("claude-haiku-5-5"),
        "content": st.lists(blocks, max_size=4),
        "stop_reason": st.sampled_from(["end_turn", "tool_use", "stop_sequence"]),
        "stop_sequence": st.none() | words,
        "usage": st.fixed_dictionaries(
            {
                "input_tokens": st.integers(0, 9),
                "output_tokens": st.integers(0, 9),
                "service_tier": st.just("standard"),
                "cache_creation": st.none()
                | st.just({"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 0}),
                "a_field_of_tomorrow": words,
            }
        ),
        "another_of_tomorrow": words,
    },
    optional={
        "context_management": st.none() | st.just({"applied_edits": []}),
        "input_transformations": st.just([]),
    },
)


def fold(events: list[bytes]) -> sse.Fold:
    folded = sse.Fold()
    for raw in events:
        event = sse.decode(raw)
        assert event is not None
        folded.feed(event)
    return folded


@given(messages)
def test_a_replayed_message_folds_back_into_itself(message: dict[str, Any]) -> None:
    folded = fold(list(sse.replay(message)))
    assert folded.complete
    assert folded.message == message


@given(messages)
def test_what_claude_says_at_the_end_is_said_at_the_end(message: dict[str, Any]) -> None:
    events = [sse.decode(raw) or {} for raw in sse.replay(message)]
    for field in ("context_management", "input_transformations"):
        assert field not in events[0]["message"]
        assert [field in event for event in events[1:]] == [
            field in message and event["type"] == "message_delta" for event in events[1:]
        ]


@given(messages, st.data())
def test_a_stream_cut_anywhere_is_never_complete(message: dict[str, Any], data: Any) -> None:
    events = list(sse.replay(message))
    kept = data.draw(st.integers(0, len(events) - 1))
    assert not fold(events[:kept]).complete


@given(messages, st.data())
def test_an_error_event_anywhere_leaves_nothing_to_store(
    message: dict[str, Any], data: Any
) -> None:
    events = list(sse.replay(message))
    at = data.draw(st.integers(0, len(events) - 1))
    events.insert(at, sse.error("overloaded_error", "busy"))
    folded = fold(events)
    assert not folded.complete
    assert folded.error == {"type": "overloaded_error", "message": "busy"}


def start(**message: Any) -> dict[str, Any]:
    base = {"id": "m", "type": "message", "content": [], "usage": {"input_tokens": 1}}
    return {"type": "message_start", "message": {**base, **message}}


STOP = {"type": "message_stop"}


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([start(), {"type": "of_tomorrow"}, STOP], "unknown-event"),
        (
            [
                start(),
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "of_tomorrow"}},
                STOP,
            ],
            "unknown-delta",
        ),
        ([start(), {"type": "content_block_start", "index": 1, "content_block": {}}], "malformed"),
        ([start(), {"type": "content_block_delta", "index": 0, "delta": {}}], "malformed"),
        ([{"type": "message_delta", "delta": {}}, {"no": "type"}], "malformed"),
        (
            [
                start(),
                {
                    "type": "content_block_start",
                    "index": 0,
                    "content_block": {"type": "tool_use", "input": {}},
                },
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "input_json_delta", "partial_json": '{"a'},
                },
                {"type": "content_block_stop", "index": 0},
                STOP,
            ],
            "malformed",
        ),
    ],
)
def test_what_the_fold_does_not_know_is_doubted(events: list[dict[str, Any]], why: str) -> None:
    folded = sse.Fold()
    for event in events:
        folded.feed(event)
    assert (folded.complete, folded.broken) == (False, why)


def test_usage_at_the_end_overwrites_and_what_it_leaves_out_stands() -> None:
    folded = sse.Fold()
    folded.feed(start(usage={"input_tokens": 7, "output_tokens": 1, "speed": "fast"}))
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    usage = {"output_tokens": 5, "input_tokens": None}
    folded.feed({"type": "message_delta", "delta": delta, "usage": usage})
    folded.feed(STOP)
    assert folded.message["usage"] == {"input_tokens": 7, "output_tokens": 5, "speed": "fast"}
    assert folded.message["stop_reason"] == "end_turn"


@given(messages)
def test_a_stored_message_gets_an_id_of_its_own(message: dict[str, Any]) -> None:
    stored = sse.without_id(message)
    again = sse.decode(b"data: " + sse.with_id(stored, "msg_cache_1"))
    assert again == {**message, "id": "msg_cache_1"}


def test_ids_are_never_the_same_twice() -> None:
    assert len({sse.message_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("raw", [b": ping\n\n", b"event: x\n\n", b"data: {\n\n", b"data: 3\n\n"])
def test_an_event_without_an_object_decodes_to_nothing(raw: bytes) -> None:
    assert sse.decode(raw) is None
