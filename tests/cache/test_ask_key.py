"""Who may be given what one call brings: every field of a request is decided on."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.ask_key import CONTROLS_LEFT_OUT, QUERY_LEFT_OUT, ask_key
from cacheserver.cache.fingerprint import UNSHAPING
from cacheserver.core.rules.lengths import LengthRules
from cacheserver.core.rules.routing import RoutingRules
from cacheserver.core.rules.validation import Check, ValidationRules
from cacheserver.core.types import Controls, Query, Tenant
from tests.cache.test_fingerprint import ask, body

# Decided on: a field of either that stands here or is left out with its reason.
COMPARED = {"fingerprint", "bypass", "credential", "open_ended", "cheapest", "background"}
COMPARED_CONTROLS = {"read", "store", "only", "max_age_s", "min_fresh_s", "max_stale_s", "ttl_s"}
COMPARED_CONTROLS |= {"tags", "off"}


@pytest.mark.parametrize(
    ("kind", "compared", "left_out"),
    [
        (Query, COMPARED, QUERY_LEFT_OUT),
        (Controls, COMPARED_CONTROLS, CONTROLS_LEFT_OUT),
    ],
)
def test_every_field_is_compared_or_left_out_for_a_reason(
    kind: type, compared: set[str], left_out: dict[str, str]
) -> None:
    assert {one.name for one in fields(kind)} == compared | left_out.keys()
    assert not compared & left_out.keys()
    assert all(left_out.values())


OTHER_WAYS: list[tuple[str, Any]] = [
    ("read", False),
    ("store", False),
    ("only", True),
    ("max_age_s", 5),
    ("min_fresh_s", 5),
    ("max_stale_s", 0),
    ("ttl_s", 60),
    ("tags", ("a",)),
    ("off", ("output-cap",)),
    ("namespace", "secret"),
    ("task", "summary"),
    ("deep", True),
    ("check", Check(json=True)),
]


@pytest.mark.parametrize(("name", "value"), OTHER_WAYS)
def test_another_way_of_asking_is_another_ask(name: str, value: Any) -> None:
    other = ask(body(), controls=replace(Controls(), **{name: value}))
    assert ask_key(other) != ask_key(ask(body()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fingerprint", "0" * 64),
        ("bypass", "no-store"),
        ("credential", "sk-ant-another"),
        ("open_ended", True),
        ("cheapest", True),
        ("background", True),
        ("tenant", Tenant("t", shadow=True)),
    ],
)
def test_so_is_another_query(name: str, value: Any) -> None:
    query = ask(body())
    assert ask_key(replace(query, **{name: value})) != ask_key(query)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("raw", b"{ }"),
        ("stream", True),
        ("key_id", "k2"),
        ("actor", "a"),
        ("caller", "c.a"),
        ("conversation", "first-turn"),
        ("controls", Controls(actor="a")),
    ],
)
def test_who_asks_and_how_it_is_spelt_do_not_matter(name: str, value: Any) -> None:
    query = ask(body())
    assert ask_key(replace(query, **{name: value})) == ask_key(query)


def test_the_order_of_tags_and_levers_does_not_matter() -> None:
    one = Controls(tags=("a", "b"), off=("history", "routing"))
    other = Controls(tags=("b", "a"), off=("routing", "history"))
    assert ask_key(ask(body(), controls=one)) == ask_key(ask(body(), controls=other))


def test_a_later_turn_of_another_conversation_is_another_ask() -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    query = ask(body(messages=[*turns, {"role": "user", "content": "And?"}]))
    named = replace(query, conversation="c1")
    keys = {ask_key(one) for one in (query, named, replace(query, conversation="c2"))}
    assert len(keys) == 3


MARK = {"cache_control": {"type": "ephemeral"}}
TEXT = {"type": "text", "text": "What is the capital of France?"}


@pytest.mark.parametrize(
    "fields",
    [
        {"service_tier": "standard_only"},
        {"speed": "fast"},
        {"cache_control": {"type": "ephemeral", "ttl": "9h"}},
        {"metadata": {"user_id": "u", "more": 1}},
        {"metadata": {"user_id": "u" * 257}},
        {"metadata": 3},
        {"billing_policy": "x"},
        {"messages": [{"role": "user", "content": [{**TEXT, **MARK}]}]},
        {"system": [{"type": "text", "text": "Be brief.", **MARK}]},
        {"tools": [{"name": "f", "input_schema": {}, **MARK}]},
        {"tools": [{"name": "f", "input_schema": {}, "eager_input_streaming": 7}]},
    ],
)
def test_what_claude_might_refuse_of_one_caller_is_not_refused_to_another(
    fields: dict[str, Any],
) -> None:
    bare = {
        "system": [{"type": "text", "text": "Be brief."}],
        "tools": [{"name": "f", "input_schema": {}}],
    }
    plain = ask(body(**{name: bare[name] for name in fields.keys() & bare.keys()}))
    other = ask(body(**fields))
    assert other.fingerprint == plain.fingerprint
    assert ask_key(other) != ask_key(plain)


def test_end_users_with_names_of_their_own_share_a_call() -> None:
    keys = {
        ask_key(ask(body(**fields)))
        for fields in (
            {},
            {"metadata": {"user_id": "u1"}},
            {"metadata": {"user_id": "u2"}},
            {"metadata": {"user_id": None}},
        )
    }
    assert len(keys) == 1


METERED = Tenant("t", lengths=LengthRules(stream_usd=0.01))
LOOKED_AT = Tenant("t", routing=RoutingRules(validation=ValidationRules(enabled=True)))
HELD_BACK = Tenant(
    "t", routing=RoutingRules(validation=ValidationRules(enabled=True, streams=True))
)


@pytest.mark.parametrize(
    ("tenant", "controls", "apart"),
    [
        (Tenant("t"), Controls(), False),
        (METERED, Controls(), True),
        (METERED, Controls(off=("output-cap",)), False),
        (LOOKED_AT, Controls(), True),
        (LOOKED_AT, Controls(off=("routing",)), False),
        (HELD_BACK, Controls(), False),
        (Tenant("t"), Controls(check=Check(json=True)), True),
    ],
)
def test_a_stream_is_apart_where_its_answer_may_be_another(
    tenant: Tenant, controls: Controls, apart: bool
) -> None:
    whole = ask(body(), tenant=tenant, controls=controls)
    streamed = ask(body(stream=True), tenant=tenant, controls=controls)
    assert streamed.fingerprint == whole.fingerprint
    assert (ask_key(streamed) != ask_key(whole)) is apart


ways = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from([value]) for name, value in OTHER_WAYS}
)
besides = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(["a", "b"]) for name in sorted(UNSHAPING - {"stream"})}
)


@given(ways, ways, besides, besides)
def test_two_ways_share_a_call_only_where_nothing_differs(
    one: dict[str, Any], other: dict[str, Any], told: dict[str, Any], told_too: dict[str, Any]
) -> None:
    first = ask(body(**told), controls=replace(Controls(), **one))
    second = ask(body(**told_too), controls=replace(Controls(), **other))
    alike = (one, told) == (other, told_too)
    assert (ask_key(first) == ask_key(second)) is alike
