"""Ids that a request continues, and those that an answer shows."""

from __future__ import annotations

from typing import Any

import pytest

from cacheserver.passthrough import stateful
from cacheserver.passthrough.stateful import Made

CONTAINER = {"id": "container_1", "expires_at": "2026-12-01T00:00:00Z"}


def result(*ids: str, type: str = "bash_code_execution_tool_result") -> dict[str, Any]:
    outputs = [{"type": "bash_code_execution_output", "file_id": id} for id in ids]
    return {"type": type, "content": {"type": "x", "content": outputs}}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"container": "c1"}', [("containers", "c1")]),
        (b'{"container": {"id": "c1", "skills": []}}', [("containers", "c1")]),
        (b'{"container": {"skills": []}}', []),
        (b'{"container": null}', []),
        (b'{"container": "c1", "container": null}', [("containers", "c1")]),
        (b'{"container": {"id": "c1", "id": "c2"}}', [("containers", "c1"), ("containers", "c2")]),
        (b'{"thread": {"type": "continue", "previous_message_id": "m1"}}', [("threads", "m1")]),
        (b'{"thread": {"type": "create"}}', []),
        (b'{"diagnostics": {"previous_message_id": "m1"}, "thread": {"type": "create"}}', []),
        (b'{"tools": [{"input_schema": {"properties": {"container": "c1"}}}]}', []),
        (b'{"requests": [{"params": {"container": "c1"}}, {"params": 1}]}', [("containers", "c1")]),
        (b'{"container": 1}', []),
        (b'["container"]', []),
        (b'{"container": "c1"', []),
    ],
)
def test_what_a_request_continues(body: bytes, found: list[tuple[str, str]]) -> None:
    assert stateful.may_continue(body)
    assert stateful.continued(body) == found


def test_what_is_nested_too_deeply_is_not_taken_for_harmless() -> None:
    with pytest.raises(RecursionError):
        stateful.continued(b'{"container": ' + b"[" * 100_000)


@pytest.mark.parametrize(
    ("body", "is_thread"),
    [
        (b'{"thread": {"type": "create"}}', True),
        (b'{"thread":{"previous_message_id":"m","type":"continue"}}', True),
        (b'{"properties": {"thread": {"type": "string"}}}', False),
        (b'{"messages": "a thread"}', False),
    ],
)
def test_a_thread_is_told_from_a_tools_property(body: bytes, is_thread: bool) -> None:
    assert stateful.is_thread(body) == is_thread


@pytest.mark.parametrize(
    ("found", "made"),
    [
        ({"id": "m", "container": CONTAINER}, [Made("containers", "container_1", 1796083200.0)]),
        ({"container": {"id": "c"}}, [Made("containers", "c")]),
        ({"container": {"id": "c", "expires_at": "soon"}}, [Made("containers", "c")]),
        ({"content": [result("f1", "f2")]}, [Made("files", "f1"), Made("files", "f2")]),
        ({"content": [result("f1", type="code_execution_tool_result")]}, [Made("files", "f1")]),
        ({"type": "message_delta", "delta": {"container": {"id": "c"}}}, [Made("containers", "c")]),
        ({"type": "content_block_start", "content_block": result("f")}, [Made("files", "f")]),
        (
            {"type": "message_start", "message": {"container": {"id": "c"}}},
            [Made("containers", "c")],
        ),
        ({"result": {"message": {"content": [result("f")]}}}, [Made("files", "f")]),
        # What a caller can have written, or brought itself, is not what was made.
        ({"content": [{"type": "tool_use", "input": result("f")}]}, []),
        ({"content": [{**result("f"), "type": "tool_use"}]}, []),
        ({"content": [{"type": "container_upload", "file_id": "f"}]}, []),
        ({"content": [{"type": "mcp_tool_result", "content": result("f")["content"]}]}, []),
        ({"content": [{"type": "text", "text": '"container": {"id": "c"}'}]}, []),
        ({"content": "?", "container": []}, []),
    ],
)  # fmt: skip
def test_what_an_answer_shows(found: dict[str, Any], made: list[Made]) -> None:
    assert stateful.made(found) == made


def test_a_threads_answer_is_named_by_its_own_id() -> None:
    begun = {"type": "message_start", "message": {"id": "m1"}}
    assert stateful.made(begun, thread=True) == [Made("threads", "m1")]
    assert stateful.made({"id": "m1"}) == []


def test_makers_are_recorded_for_longer_than_claude_keeps_it() -> None:
    assert Made("files", "f").keep_s(0.0) is None
    assert Made("containers", "c").keep_s(0.0) == 31 * 86_400
    assert Made("containers", "c", expires_at=1_000.0).keep_s(400.0) == 86_400 + 600
    assert Made("containers", "c", expires_at=0.0).keep_s(1e9) == 86_400


def test_most_answers_are_not_read() -> None:
    for raw in (
        b'{"id": "m", "container": null, "content": [{"type": "text", "text": "hi"}]}',
        b'{"content": [{"text": "\\"container\\": {}"}], "usage": {}}',
        b'event: content_block_delta\ndata: {"delta": {"text": "code_execution_output is"}}\n\n',
    ):
        assert not stateful.shows_made(raw)
