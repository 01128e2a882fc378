"""Keyed digests: of a tenant without content none can be made from the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.keyed_digests import NO_CONTENT, keyed
from cacheserver.core.types import Controls, Query, Tenant
from cacheserver.erasure import selectors
from cacheserver.promptcache.skeleton import skeleton, under
from tests.cache.queries import query
from tests.guesses import digests

PLAIN = Tenant("acme")
ONE = replace(PLAIN, no_content=True, digest_key=b"1" * 32)
OTHER = replace(PLAIN, no_content=True, digest_key=b"2" * 32)
SYSTEM = "You help the user. Today is 2026-11-29, and it is a fine day for long prompts. " * 40

texts = st.text(min_size=1, max_size=40)
turns = st.lists(texts, min_size=1, max_size=3)


def bodies(said: list[str], system: str, user: str) -> dict[str, Any]:
    messages = []
    for text in said[:-1]:
        messages += [{"role": "user", "content": text}, {"role": "assistant", "content": "Well."}]
    messages.append({"role": "user", "content": said[-1]})
    return {"messages": messages, "system": SYSTEM + system, "metadata": {"user_id": user}}


def question(tenant: Tenant, fields: Mapping[str, Any], talk: str | None = None) -> Query:
    fields = dict(fields)
    made = query(fields.pop("messages"), tenant=tenant, model="claude-sonnet-5", **fields)
    return made if talk is None else replace(made, conversation=talk)


@given(turns, texts, st.text("abc", min_size=1), st.none() | st.just("talk"))
def test_every_digest_is_the_tenants_own(
    said: list[str], system: str, user: str, talk: str | None
) -> None:
    body = bodies(said, system, user)
    plain, one, again, other = (
        digests(question(tenant, body, talk)) for tenant in (PLAIN, ONE, ONE, OTHER)
    )
    assert {"ask", "actor", "turn-0", "root", "skeleton", "fragment-0"} <= plain.keys()
    assert any(name.startswith("prefix") for name in plain)
    assert one == again
    assert plain.keys() == one.keys() == other.keys()
    for name, digest in one.items():
        assert len(digest) == len(plain[name]), name
        assert len({digest, plain[name], other[name]}) == 3, name


@given(texts, texts)
def test_two_questions_share_a_keyed_digest_where_they_share_a_plain_one(a: str, b: str) -> None:
    plain = [question(PLAIN, bodies([text], "", "ann")) for text in (a, b)]
    keyed_too = [question(ONE, bodies([text], "", "ann")) for text in (a, b)]
    for name in ("fingerprint", "scope"):
        (p, q), (r, s) = ([getattr(one, name) for one in two] for two in (plain, keyed_too))
        assert (p == q) == (r == s)


def test_a_plain_digest_never_stands_in_for_a_keyed_one() -> None:
    with pytest.raises(ValueError, match="not at hand"):
        keyed(replace(PLAIN, no_content=True), "ab" * 32)
    assert keyed(replace(PLAIN, digest_key=b"1" * 32), "ab" * 32) == "ab" * 32


def test_the_shape_of_words_is_not_kept() -> None:
    found = skeleton(SYSTEM)
    assert under(found, PLAIN) == found
    shapes = {one.shape for one in under(found, ONE).fragments}
    assert shapes == {NO_CONTENT}


def test_an_end_user_is_found_by_name_under_the_same_key() -> None:
    found = question(ONE, bodies(["Why?"], "", "ann"))
    assert found.actor in selectors.read({"actor": "ann"}, ONE).values
    assert found.actor not in selectors.read({"actor": "ann"}, PLAIN).values
    key = query("Why?", tenant=replace(ONE, actors="key"), controls=Controls())
    assert key.actor is None
