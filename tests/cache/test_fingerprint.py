"""Identity: the same request twice hits, a changed one misses, whatever the field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.fingerprint import UNSHAPING, read
from cacheserver.core.errors import BadRequest
from cacheserver.core.types import Controls, Query, Tenant
from cacheserver.languages.rules import languages

Body = dict[str, Any]


def ask(body: Body, **kwargs: Any) -> Query:
    given: dict[str, Any] = {
        "headers": {},
        "tenant": Tenant("t"),
        "controls": Controls(),
        "upstream": "simulated",
        "language": languages(),
        **kwargs,
    }
    return read(body, json.dumps(body).encode(), **given)


def body(**fields: Any) -> Body:
    return {
        "model": "claude-haiku-5-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        **fields,
    }


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "cache_control", "stream", "type", "a", "b"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)

# Every answer-shaping field of the Messages API (facts 1.1), each with two values that differ.
SHAPING: dict[str, tuple[Any, Any]] = {
    "model": ("claude-haiku-5-5", "claude-sonnet-5-5"),
    "max_tokens": (100, 101),
    "system": ("Be brief.", "Be long."),
    "stop_sequences": (["a", "b"], ["b", "a"]),
    "thinking": ({"type": "adaptive"}, {"type": "adaptive", "display": "omitted"}),
    "output_config": ({"effort": "low"}, {"effort": "high"}),
    "tool_choice": ({"type": "auto"}, {"type": "none"}),
    "tools": ([{"name": "a"}, {"name": "b"}], [{"name": "b"}, {"name": "a"}]),
    "inference_geo": ("us", "global"),
    "container": ("c1", "c2"),
    "mcp_servers": ([], [{"url": "x"}]),
    "temperature": (0.1, 0.2),
    "top_p": (0.1, 0.2),
    "a_field_of_tomorrow": (1, 2),
}


@pytest.mark.parametrize("field", sorted(SHAPING))
def test_changing_a_field_that_shapes_the_answer_changes_fingerprint_and_scope(field: str) -> None:
    one, two = (ask(body(**{field: value})) for value in SHAPING[field])
    assert one.fingerprint != two.fingerprint
    if one.text is not None and two.text is not None:
        assert one.scope != two.scope


@pytest.mark.parametrize("field", sorted(SHAPING.keys() - {"model", "max_tokens"}))
def test_leaving_a_shaping_field_out_is_not_the_same_as_giving_it(field: str) -> None:
    assert ask(body()).fingerprint != ask(body(**{field: SHAPING[field][1]})).fingerprint


@given(st.sampled_from(sorted(UNSHAPING - {"stream"})), values)
def test_fields_that_never_shape_an_answer_never_matter(field: str, value: Any) -> None:
    assert ask(body(**{field: value})).fingerprint == ask(body()).fingerprint
    assert ask(body(**{field: value})).scope == ask(body()).scope


@given(st.text(max_size=20), st.text(max_size=20))
def test_who_asks_never_matters(one: str, other: str) -> None:
    asked = [ask(body(metadata={"user_id": name}), key_id=name) for name in (one, other)]
    assert asked[0].fingerprint == asked[1].fingerprint == ask(body()).fingerprint
    assert asked[0].scope == asked[1].scope == ask(body()).scope
    assert (asked[0].caller == asked[1].caller) == (one == other)


def test_a_stream_shares_the_answer_of_what_is_not_streamed() -> None:
    streamed = ask(body(stream=True))
    assert streamed.stream
    assert streamed.fingerprint == ask(body()).fingerprint


def test_content_as_a_string_is_one_text_block() -> None:
    block = {"type": "text", "text": "What is the capital of France?"}
    marked = {**block, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    plain = ask(body(system="Be brief."))
    for spelling in (block, marked):
        other = ask(
            body(
                messages=[{"role": "user", "content": [spelling]}],
                system=[{"type": "text", "text": "Be brief."}],
            )
        )
        assert (other.fingerprint, other.scope) == (plain.fingerprint, plain.scope)


@given(st.permutations(["model", "max_tokens", "messages", "system"]))
def test_key_order_never_matters(order: list[str]) -> None:
    given = body(system="x")
    assert ask({k: given[k] for k in order}).fingerprint == ask(given).fingerprint


def tool(schema: Any) -> Body:
    return body(tools=[{"name": "t", "input_schema": schema}])


@given(values, values)
def test_a_tools_own_words_are_never_ignored(one: Any, two: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (ask(tool(one)).fingerprint == ask(tool(two)).fingerprint) == same


@given(values, values)
def test_a_field_nobody_knows_is_part_of_the_key_at_any_depth(one: Any, two: Any) -> None:
    def novel(value: Any) -> Body:
        return body(messages=[{"role": "user", "content": [{"type": "novel", "x": value}]}])

    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (ask(novel(one)).fingerprint == ask(novel(two)).fingerprint) == same


@given(st.text(min_size=1), st.text(min_size=1))
def test_scope_is_everything_but_the_last_text(one: str, two: str) -> None:
    queries = [ask(body(messages=[{"role": "user", "content": text}])) for text in (one, two)]
    first, second = queries
    assert (first.fingerprint == second.fingerprint) == (one == two)
    if first.text is not None and second.text is not None:
        assert first.scope == second.scope


@pytest.mark.parametrize(
    "earlier",
    [
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Good day"}],
        [],
    ],
)
def test_earlier_turns_are_part_of_the_scope(earlier: list[Body]) -> None:
    last = {"role": "user", "content": "And in winter?"}
    alone = ask(body(messages=[last]))
    after = ask(body(messages=[*earlier, last]))
    assert (after.scope == alone.scope) == (not earlier)


def test_an_earlier_block_of_the_last_turn_is_part_of_the_scope() -> None:
    def of(document: str) -> Query:
        content = [{"type": "text", "text": document}, {"type": "text", "text": "Summarise"}]
        return ask(body(messages=[{"role": "user", "content": content}]))

    assert of("report A").text == "Summarise"
    assert of("report A").scope != of("report B").scope


STEERING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tenant": ({"tenant": Tenant("a")}, {"tenant": Tenant("b")}),
    "routing epoch": ({"tenant": Tenant("a")}, {"tenant": Tenant("a", routing_epoch=1)}),
    "namespace": ({}, {"controls": Controls(namespace="other")}),
    "task": ({}, {"controls": Controls(task="analysis")}),
    "deep analysis": ({}, {"controls": Controls(deep=True)}),
    "upstream": ({}, {"upstream": "https://api.anthropic.com"}),
    "version": ({}, {"headers": {"anthropic-version": "2027-01-01"}}),
    "beta": ({}, {"headers": {"anthropic-beta": "x"}}),
    "header of tomorrow": ({}, {"headers": {"anthropic-of-tomorrow": "x"}}),
    "workspace": ({}, {"headers": {"anthropic-workspace-id": "w"}}),
    "user profile": ({}, {"headers": {"anthropic-user-profile-id": "p"}}),
}


@pytest.mark.parametrize("what", sorted(STEERING))
def test_what_steers_an_answer_from_outside_the_body_is_part_of_both(what: str) -> None:
    one, two = (ask(body(), **kwargs) for kwargs in STEERING[what])
    assert one.fingerprint != two.fingerprint
    assert one.scope != two.scope


def test_beta_headers_are_a_set() -> None:
    one = ask(body(), headers={"anthropic-beta": "a, b"})
    assert one.fingerprint == ask(body(), headers={"anthropic-beta": "b,a,"}).fingerprint


def test_auto_is_keyed_as_auto() -> None:
    assert ask(body(model="auto")).fingerprint != ask(body()).fingerprint


def test_integers_of_any_size_are_told_apart() -> None:
    one, two = ask(body(x=2**70)), ask(body(x=2**70 + 1))
    assert one.fingerprint != two.fingerprint
    assert one.fingerprint == ask(body(x=2**70)).fingerprint


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ({"model": None}, "model"),
        ({"model": 3}, "model"),
        ({"model": ""}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages.0"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": "10"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"system": 3}, "system"),
        ({"system": [3]}, "system.0"),
        ({"tools": {}}, "tools"),
        ({"tools": [1]}, "tools.0"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(broken: Body, field: str) -> None:
    with pytest.raises(BadRequest) as raised:
        ask(body(**broken))
    assert raised.value.field.startswith(field)


@given(st.dictionaries(st.sampled_from([*SHAPING, "messages", "stream", "metadata"]), values))
def test_any_json_is_read_or_refused_never_a_crash(given: Body) -> None:
    try:
        query = ask(given)
    except BadRequest as error:
        assert error.field
    else:
        assert len(query.fingerprint) == 64


@given(
    st.sampled_from("\u200b\u00a0\u202e\x00\ufe0f\u0430\u212a"),
    st.integers(0, 8),
    st.sampled_from(["system", "question"]),
)
def test_prompts_that_look_the_same_are_not(odd: str, place: int, where: str) -> None:
    """The exact key is of the text as sent; the scope is, too, of all but the question."""

    def asked(text: str) -> Query:
        if where == "system":
            return ask(body(system=text))
        return ask(body(messages=[{"role": "user", "content": text}]))

    plain, other = asked("Be brief."), asked("Be brief."[:place] + odd + "Be brief."[place:])
    assert other.fingerprint != plain.fingerprint
    if where == "system":
        assert other.scope != plain.scope


@pytest.mark.parametrize(
    ("text", "volatile"),
    [
        ("What is the weather like today?", "time"),
        ("What is the wea\u200bther like to\u00adday?", "time"),
        ("What is the \uff57eather like \uff54\uff4f\uff44\uff41\uff59?", "time"),
        ("Where is m\u200by order?", "personal"),
        ("Where is my\u200border?", "personal"),
        ("What is a \u200bhorse?", None),
    ],
)
def test_an_unseen_character_does_not_make_the_moment_last(text: str, volatile: str | None) -> None:
    assert ask(body(messages=[{"role": "user", "content": text}])).volatile == volatile
