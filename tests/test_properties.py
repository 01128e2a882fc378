"""Whatever two tenants ask, no answer crosses; whatever Claude streams is kept as it was meant."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.cache.controls import read_controls
from cacheserver.cache.fingerprint import read
from cacheserver.claude import sse
from cacheserver.core.types import Query, Tenant
from cacheserver.english.language import english
from tests.house import House

words = st.text(max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
texts = st.sampled_from(["Who am I?", "Who am i?", "Who am I", "who  am I ?"]) | words
contents = texts | st.lists(
    st.builds(lambda text: {"type": "text", "text": text}, texts), min_size=1, max_size=2
)
bodies = st.builds(
    lambda content, more: {
        **more,
        "model": "claude-haiku-5-5",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": content}],
    },
    contents,
    st.dictionaries(st.sampled_from(["metadata", "system", "x", "tenant", "namespace"]), values)
    .filter(lambda more: isinstance(more.get("system"), str | None))
    .map(lambda more: {k: v for k, v in more.items() if v is not None}),
)
names = st.from_regex(r"[a-z0-9._-]{1,3}", fullmatch=True)


def reading(body: dict[str, Any], tenant: str, namespace: str, **more: str) -> Query:
    return read(
        body,
        json.dumps(body).encode(),
        headers={},
        tenant=Tenant(tenant),
        controls=read_controls({"x-cache-namespace": namespace, **more}),
        upstream="claude",
        language=english(),
    )


@given(bodies, bodies, names, names, names, names)
def test_another_tenant_or_namespace_never_has_the_same_keys(
    one: dict[str, Any], two: dict[str, Any], a: str, b: str, m: str, n: str
) -> None:
    """Neither a body that spells a tenant's name nor names that run together make them meet."""
    if (a, m) == (b, n):
        return
    first, second = reading(one, a, m), reading(two, b, n)
    assert first.fingerprint != second.fingerprint
    if first.text is not None:
        assert first.scope != second.scope


@given(bodies, names)
def test_a_task_is_no_namespace_and_neither_is_a_tenant(body: dict[str, Any], name: str) -> None:
    as_task = reading(body, "t", "default", **{"x-cache-task": name})
    as_namespace = reading(body, "t", name)
    as_tenant = reading(body, name, "default")
    assert len({query.fingerprint for query in (as_task, as_namespace, as_tenant)}) == 3


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(bodies, st.sampled_from("ab"), st.sampled_from("mn")), max_size=6))
async def test_whatever_is_asked_a_hit_is_of_ones_own(
    house: House, asked: list[tuple[dict[str, Any], str, str]]
) -> None:
    """Through the front door: an entry served is stored under the asker's tenant and namespace."""
    keys = {tenant: await house.key(tenant) for tenant in "ab"}
    for body, tenant, space in asked:
        headers = {"x-api-key": keys[tenant], "x-cache-namespace": space}
        answer = await house.http.post("/v1/messages", json=body, headers=headers)
        assert answer.status_code in (200, 400)
        if (served := answer.headers.get("x-cache-entry")) is not None:
            entry = await house.parts.entries.entries.by_id(tenant, served)
            assert entry is not None
            assert entry.namespace == space


# How Claude's streams may look; each case was seen in one of the official SDK's own recordings.


def event(type: str, **fields: Any) -> dict[str, Any]:
    return {"type": type, **fields}


def opening(**usage: Any) -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 25, "output_tokens": 1, **usage},
    }
    return event("message_start", message=message)


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield event("content_block_start", index=index, content_block=start)
    for delta in deltas:
        yield event("content_block_delta", index=index, delta=delta)
    yield event("content_block_stop", index=index)


def closing(stop: str = "end_turn", **more: Any) -> list[dict[str, Any]]:
    usage = more.pop("usage", {"output_tokens": 8})
    delta = {"stop_reason": stop, "stop_sequence": None, **more}
    return [event("message_delta", delta=delta, usage=usage), event("message_stop")]


HELLO = [{"type": "text_delta", "text": "Hel"}, {"type": "text_delta", "text": "lo"}]
TEXT, TOOL = {"type": "text", "text": ""}, {"type": "tool_use", "id": "t", "name": "n", "input": {}}


def pieces(*texts: str) -> list[dict[str, Any]]:
    return [{"type": "input_json_delta", "partial_json": text} for text in texts]


def folded(events: list[dict[str, Any]]) -> sse.Fold:
    fold = sse.Fold()
    for each in events:
        fold.feed(each)
    return fold


def test_usage_that_the_end_leaves_out_stands_from_the_start() -> None:
    fold = folded([opening(cache_read_input_tokens=7), *block(0, TEXT, *HELLO), *closing()])
    assert fold.complete
    expected = {"input_tokens": 25, "output_tokens": 8, "cache_read_input_tokens": 7}
    assert fold.message["usage"] == expected


def test_fields_that_come_at_the_end_are_kept_and_replayed() -> None:
    ends = closing(usage={"output_tokens": 8, "of_tomorrow": 1}, stop_details={"type": "x"})
    fold = folded([opening(), *block(0, TEXT, *HELLO), *ends])
    again = folded([e for raw in sse.replay(fold.message) if (e := sse.decode(raw)) is not None])
    assert fold.message["stop_details"] == {"type": "x"}
    assert again.message == fold.message


def test_a_tools_input_may_come_in_any_pieces_or_none() -> None:
    for given_, expected in (
        (pieces("", '{"a": ', '"b', '"}'), {"a": "b"}),
        (pieces(""), {}),
        ([], {}),
    ):
        fold = folded([opening(), *block(0, TOOL, *given_), *closing("tool_use")])
        assert fold.complete
        assert fold.message["content"][0]["input"] == expected


@pytest.mark.parametrize(
    ("events", "why"),
    [
        (
            [opening(), *block(0, TOOL, *pieces('{"a": celsius}')), *closing("tool_use")],
            "malformed",
        ),
        # `max_tokens` ends a tool's input in the middle, and its block is never closed
        (
            [opening(), *list(block(0, TOOL, *pieces('{"a": ')))[:-1], *closing("max_tokens")],
            "unclosed",
        ),
        ([opening(), *list(block(0, TEXT, *HELLO))[:-1], *closing()], "unclosed"),
        ([opening(), *block(0, TEXT, *HELLO), HELLO[0], *closing()], "unknown-event"),
        ([opening(), opening(), *block(0, TEXT, *HELLO), *closing()], "malformed"),
        (
            [opening(), *block(0, TEXT, {"type": "compaction_delta", "content": "x"}), *closing()],
            "unknown-delta",
        ),
        ([opening(), event("of_tomorrow"), *block(0, TEXT, *HELLO), *closing()], "unknown-event"),
    ],
)
def test_what_is_not_surely_whole_is_not_kept(events: list[dict[str, Any]], why: str) -> None:
    fold = folded(events)
    assert (fold.complete, fold.broken) == (False, why)


@given(st.recursive(values, lambda v: st.dictionaries(words, v), max_leaves=6))
def test_no_event_makes_the_fold_raise(nonsense: Any) -> None:
    fold = folded([opening()])
    for each in ({"type": nonsense}, {"type": "message_delta", "delta": nonsense}, {}):
        fold.feed(each)
    for kind in ("message_start", "content_block_start", "content_block_delta", "error"):
        fold.feed({"type": kind, "index": nonsense, "message": nonsense, "error": nonsense})
        fold.feed({"type": kind, "index": 0, "content_block": nonsense, "delta": nonsense})
    fold.feed(event("message_stop"))
    assert not fold.complete


def test_a_stored_answer_without_words_is_replayed_all_the_same() -> None:
    """What is stored may be stranger than what the replay was made for; it never breaks off."""
    strange: list[Any] = [None, [], *([{"type": t}] for t in ("text", "tool_use", "thinking"))]
    for content in strange:
        message = {"id": "m", "type": "message", "content": content, "usage": None}
        kinds = [e["type"] for raw in sse.replay(message) if (e := sse.decode(raw)) is not None]
        assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    assert json.loads(sse.with_id(b"{}", "m")) == {"id": "m"}


async def test_the_fold_keeps_what_the_sdk_reads(house: House) -> None:
    """One question, streamed, stored, streamed again: the official SDK accumulates the same."""
    asked: dict[str, Any] = {
        "model": "claude-haiku-5-5",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": "Say. [[sim thinking=9 text='Ünï \"x\"']]"}],
    }
    seen = []
    for _ in range(2):
        async with asyncio.timeout(20), house.sdk().messages.stream(**asked) as stream:
            seen.append((await stream.get_final_message()).model_dump(mode="json"))
    assert [m.pop("id")[:4] for m in seen] == ["msg_", "msg_"]
    assert seen[0] == seen[1]
