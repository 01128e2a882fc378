"""What is matched by similarity, shared, and stored; everything else is refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.cacheability import (
    bypass,
    has_content,
    question,
    unstorable,
)
from cacheserver.cache.stored_answer import for_similar
from cacheserver.core import json_text

Body = dict[str, Any]


def body(*content: Any, **fields: Any) -> Body:
    said = list(content) if content else "What is the capital of France?"
    return {"model": "m", "messages": [{"role": "user", "content": said}], **fields}


def text(words: str = "What is this?") -> Body:
    return {"type": "text", "text": words}


TOOL = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
EDITED = "context-management"


def keeps(keep: Any = "all", **fields: Any) -> Body:
    """An edit of earlier turns that clears nothing, as Claude Code sends it."""
    return {"edits": [{"type": "clear_thinking_20251015", "keep": keep, **fields}]}


IMAGE = {"type": "image", "source": {"type": "base64", "data": "x"}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "4"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (body(), ("What is the capital of France?", None)),
        (body(text("one"), text("two")), ("two", None)),
        (body(tools=[{"name": "t"}]), (None, "tools")),
        (body(tools=[]), ("What is the capital of France?", None)),
        (body(IMAGE, text()), (None, "image")),
        (body({"type": "document", "source": {}}, text()), (None, "document")),
        (body(RESULT, text()), (None, "tool-result")),
        (body({"type": "novel"}, text()), (None, "unknown-block")),
        (body(text("  \n")), (None, "no-text")),
        (body({"type": "thinking", "thinking": ""}), (None, "no-text")),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            (None, "prefill"),
        ),
        (
            {"messages": [{"role": "user", "content": [IMAGE]}, {"role": "user", "content": "b"}]},
            (None, "image"),
        ),
    ],
)
def test_only_plain_text_is_matched_by_similarity(
    asked: Body, expected: tuple[str | None, str | None]
) -> None:
    assert question(asked) == expected


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (body(), None),
        (body(container={"skills": []}), "container"),
        (body(mcp_servers=[{"url": "x"}]), "mcp"),
        (body(mcp_servers=[]), None),
        (body(thread={"id": "t"}), "thread"),
        (body(compaction={"x": 1}), "compaction"),
        (body(context_management={"edits": []}), EDITED),
        (body(context_management=keeps()), None),
        (body(context_management=keeps({"type": "all"})), None),
        (body(context_management=keeps({"type": "all", "value": 1})), EDITED),
        (body(context_management=keeps("ALL")), EDITED),
        (body(context_management=keeps(None)), EDITED),
        (body(context_management=keeps({"type": "thinking_turns", "value": 9})), EDITED),
        (body(context_management=keeps(of_tomorrow=1)), EDITED),
        (body(context_management=keeps(type="clear_thinking_20270101")), EDITED),
        (body(context_management=keeps(type="clear_tool_uses_20250919")), EDITED),
        (body(context_management={**keeps(), "of_tomorrow": 1}), EDITED),
        (body(context_management={"edits": keeps()["edits"] * 2}), EDITED),
        (body(context_management={"edits": [{"type": "clear_thinking_20251015"}]}), EDITED),
        (body(fallbacks=["m"]), "fallbacks"),
        (body(max_tokens=0), "max-tokens-0"),
        (body(tools=[{"name": "own"}]), None),
        (body(tools=[{"type": "custom", "name": "own"}]), None),
        (body(tools=[{"type": "bash_20250124", "name": "bash"}]), None),
        (body(tools=[{"type": "web_search_20250305", "name": "web_search"}]), "server-tools"),
        (body(tools=[{"type": "code_execution_20250825", "name": "x"}]), "server-tools"),
        (body(tools=[{"type": "of_tomorrow", "name": "x"}]), "server-tools"),
        (body(tools=[{"type": 3}]), "server-tools"),
        (body({"type": "image", "source": {"type": "url", "url": "x"}}, text()), "url-source"),
        (
            body(
                {
                    "type": "tool_result",
                    "content": [{"type": "image", "source": {"type": "url", "url": "x"}}],
                }
            ),
            "url-source",
        ),
        (body(IMAGE, text()), None),
    ],
)
def test_what_is_stateful_or_depends_on_the_moment_is_not_shared(
    asked: Body, reason: str | None
) -> None:
    assert bypass(asked) == reason


def message(**fields: Any) -> Body:
    return {
        "type": "message",
        "content": [text("Paris.")],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
        **fields,
    }


@pytest.mark.parametrize(
    ("answered", "reason"),
    [
        (message(), None),
        (message(stop_reason="stop_sequence"), None),
        (message(stop_reason="tool_use", content=[{"type": "tool_use", "input": {}}]), None),
        (message(stop_reason="refusal"), "stop-refusal"),
        (message(stop_reason="pause_turn"), "stop-pause_turn"),
        (message(stop_reason="max_tokens"), "stop-max_tokens"),
        (
            message(stop_reason="model_context_window_exceeded"),
            "stop-model_context_window_exceeded",
        ),
        (message(stop_reason="compaction"), "stop-compaction"),
        (message(stop_reason=None), "malformed"),
        (message(content=[]), "no-content"),
        (message(content=[text("")]), "no-content"),
        (message(content=[text(" \n\t\u00a0\u2003")]), "no-content"),
        (message(content=[text("\u200b\ufeff\u00ad\U000e0041\u2800")]), "no-content"),
        (message(content=[text(""), text("\r\n")]), "no-content"),
        (message(content=[{"type": "thinking", "thinking": "x", "signature": "s"}]), "no-content"),
        (message(content=[{"type": "redacted_thinking", "data": "x"}, text(" ")]), "no-content"),
        (message(stop_reason="stop_sequence", content=[text("")]), "no-content"),
        (message(content=[text("\u200b0")]), None),
        (message(content=[text("{}")]), None),
        (message(content=[text("\u00e9")]), None),
        (message(content=[{"type": "text"}]), "malformed"),
        (message(content=[{"type": "text", "text": 3}]), "malformed"),
        (message(stop_reason="tool_use", content=[text("Wait.")]), "malformed"),
        (message(stop_reason="tool_use", content=[text(""), TOOL]), None),
        (message(content=[{"type": "web_search_tool_result"}]), "block"),
        (message(content=["x"]), "block"),
        (message(container={"id": "c"}), "container"),
        (message(context_management=None), None),
        (message(context_management={"applied_edits": []}), None),
        (message(context_management={"applied_edits": [{"type": "x"}]}), EDITED),
        (message(context_management={"applied_edits": [], "of_tomorrow": 1}), EDITED),
        (message(context_management=[]), EDITED),
        (message(usage=None), "malformed"),
        ({"type": "error"}, "malformed"),
        ({}, "malformed"),
    ],
)
def test_only_whole_answers_are_stored(answered: Body, reason: str | None) -> None:
    assert unstorable(answered) == reason


QUOTED = st.text() | st.sampled_from(['"text":"x', '\\"text": "x', '{"text":"x"}'])


@given(
    st.lists(
        st.builds(text, st.text(' \n\t\u200b\u00a0\u2800\ufeffa0."\\\u00e9\u4e2d', max_size=4))
        | st.builds(lambda t: {"type": "thinking", "thinking": t, "signature": t}, QUOTED)
        | st.just(TOOL),
        max_size=3,
    ),
    st.booleans(),
)
def test_what_is_stored_is_what_is_served_again(content: list[Any], spaced: bool) -> None:
    answered = message(content=content)
    raw = json.dumps(answered).encode() if spaced else json_text.dumps(answered)
    assert has_content(raw) is (unstorable(answered) is None)


def test_thinking_is_not_served_to_a_similar_question() -> None:
    thought = message(
        content=[{"type": "thinking", "thinking": "x", "signature": "s"}, text("Paris.")]
    )
    served = for_similar(json_text.dumps(thought))
    assert json_text.loads(served)["content"] == [text("Paris.")]
