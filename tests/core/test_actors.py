"""End users behind one key: named by header, field or metadata, kept as digests only."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from cacheserver.cache.controls import query_controls, read_controls
from cacheserver.core import actors, names
from cacheserver.core.errors import BadRequest
from cacheserver.core.invisible_characters import UNSEEN
from cacheserver.core.types import Controls, Tenant
from cacheserver.matching.question_text import normalise
from tests.cache.queries import query

TENANT = Tenant("acme")


def actor(
    metadata: Any = None,
    *,
    header: str | None = None,
    tenant: Tenant = TENANT,
    key_id: str | None = None,
) -> str | None:
    controls = read_controls({} if header is None else {"x-cache-actor": header})
    body = {} if metadata is None else {"metadata": metadata}
    return actors.actor_of(body, controls, tenant, key_id)


@pytest.mark.parametrize(
    "name",
    ["", " ", "a" * 257, "é", "a\tb", "a\x00b", "a\x7f", "a\u200bb", "a\ufe0f", "\u3164"],
)
def test_a_name_that_will_not_do_is_refused_by_header_and_by_field(name: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_controls({"x-cache-actor": name})
    assert refused.value.field == "x-cache-actor"
    if name != "é":  # a field says how its letters are spelled
        with pytest.raises(BadRequest) as refused:
            query_controls({"actor": name}, {})
        assert refused.value.field == "actor"
        assert name.strip() == "" or name not in str(refused.value)


@pytest.mark.parametrize("name", ["\ud800", "a\u202eb", "\u2800", "a\U000e0100", 7, True, ["a"]])
def test_a_field_that_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(BadRequest) as refused:
        query_controls({"actor": name}, {})
    assert refused.value.field == "actor"


def test_no_name_holds_a_sign_that_makes_a_question_unreadable() -> None:
    assert {"\u180f", "\ufe0f", "\ufffd", "\U000e01ef"} < UNSEEN
    for sign in UNSEEN:
        assert normalise(f"a{sign}b") is None
        with pytest.raises(BadRequest, match="printable"):
            query_controls({"actor": f"a{sign}b"}, {})


def test_a_header_given_twice_names_nobody() -> None:
    twice = Headers(raw=[(b"x-cache-actor", b"ann"), (b"x-cache-actor", b"bob")])
    with pytest.raises(BadRequest, match="twice"):
        read_controls(twice)


@pytest.mark.parametrize("name", ["ann", "a" * 256, "user 7, floor 2", "~!@#"])
def test_header_field_and_metadata_name_the_same_user(name: str) -> None:
    by_header = actor(header=name)
    assert by_header == actor({"user_id": name}) == actor({"user_id": name}, header=name)
    by_field = query_controls({"actor": name}, {"x-cache-actor": name})
    assert by_header == actors.actor_of({}, by_field, TENANT, None)
    assert by_header is not None
    assert len(by_header) == 16


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Zoe\u0308", "Zo\u00eb"),
        (" ann ", "ann"),
        ("\u1100\u1161", "\uac00"),
        ("A\u030a", "\u212b"),
    ],
)
def test_two_spellings_of_a_name_are_one_user(one: str, other: str) -> None:
    fields = [query_controls({"actor": name}, {}).actor for name in (one, other)]
    assert fields[0] == fields[1] is not None
    assert actor({"user_id": one}) == actor({"user_id": other}) is not None


def test_the_header_goes_before_what_a_program_wrote_into_the_body() -> None:
    session = '{"device_id":"d","session_id":"s"}'
    assert actor({"user_id": session}, header="bob") == actor(header="bob")
    assert actor({"user_id": session}) not in (None, actor(header="bob"))
    by_key = Tenant("acme", actors="key")
    assert actor({"user_id": "a"}, header="b", tenant=by_key, key_id="k") == (
        actor(tenant=by_key, key_id="k")
    )


def test_two_names_of_our_own_on_one_request_are_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        query_controls({"actor": "ann"}, {"x-cache-actor": "bob"})
    assert refused.value.field == "actor"


@pytest.mark.parametrize(
    "metadata",
    [
        *({}, {"user_id": None}, {"user_id": 7}, {"user_id": ""}, {"user_id": " "}),
        # a body is never refused; a name that only looks like another's is nobody's
        *({"user_id": "ann\u200b"}, {"user_id": "\u202eann"}, {"user_id": "ann\ufe0f"}),
    ],
)
def test_metadata_that_names_nobody_is_claudes_business(metadata: Any) -> None:
    assert actor(metadata) is None
    assert actor(metadata, header="ann") == actor(header="ann")


@given(st.text(max_size=300))
def test_any_user_id_is_read_and_is_never_in_what_is_kept(name: str) -> None:
    asked = query(metadata={"user_id": name})
    assert (asked.actor is None) == (not names.visible(name) or not name.strip())
    assert (asked.fingerprint, asked.scope) == (query().fingerprint, query().scope)


def test_an_actor_is_no_part_of_what_is_asked() -> None:
    plain, named = query(), query(controls=Controls(actor="0123456789abcdef"))
    assert (named.fingerprint, named.scope) == (plain.fingerprint, plain.scope)
    assert (plain.actor, plain.caller) == (None, "")
    assert named.actor
    assert named.caller


def test_tenants_users_of_one_name_are_not_one() -> None:
    assert actor(header="ann") != actor(header="ann", tenant=Tenant("other"))
    assert actor(header="ann") != actor(header="bob")


def test_where_each_key_is_an_actor_no_name_counts() -> None:
    tenant = Tenant("acme", actors="key")
    assert actor({"user_id": "ann"}, tenant=tenant) is None
    one = actor({"user_id": "ann"}, tenant=tenant, key_id="k1")
    assert one == actor({"user_id": "bob"}, header="eve", tenant=tenant, key_id="k1")
    assert one not in (None, actor(tenant=tenant, key_id="k2"))


def test_callers_differ_by_key_and_by_user() -> None:
    callers = [
        actors.caller_of(key, user) for key in (None, "k1", "k2") for user in (None, "u1", "u2")
    ]
    assert callers[0] == ""
    assert len(set(callers)) == len(callers)
