"""Headers in which clients differ: shared where answers cannot differ, apart where they might."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.ask_key import ask_key
from cacheserver.core.messages.client_headers import shaping_headers
from tests.cache.test_fingerprint import Body, ask, body

OLD, NEW = {"anthropic-version": "2023-06-01"}, {"anthropic-version": "2026-10-21"}
BROWSER = "anthropic-dangerous-direct-browser-access"


def same(asked: Body, one: dict[str, str], other: dict[str, str]) -> bool:
    queries = [ask(asked, headers=headers) for headers in (one, other)]
    found = {query.fingerprint for query in queries}
    if queries[0].text is not None:
        assert len({query.scope for query in queries}) == len(found)
    return len(found) == 1


def turn(role: str, *blocks: Body) -> Body:
    return {"role": role, "content": list(blocks)}


TEXT: Body = {"type": "text", "text": "What does it say?"}
DOCUMENT: Body = {"type": "document", "source": {"type": "text", "data": "x"}}
CITED: Body = {**TEXT, "citations": [{"type": "char_location"}]}
FOUND: Body = {"type": "search_result", "source": "s", "title": "t", "content": [CITED]}


def test_the_two_versions_share_what_both_take() -> None:
    assert same(body(), OLD, NEW)
    assert same(body(), OLD, {})
    assert same(body(messages=[turn("user", DOCUMENT, TEXT)]), OLD, NEW)
    cited_by_claude = [turn("user", TEXT), turn("assistant", CITED), turn("user", TEXT)]
    assert same(body(messages=cited_by_claude), OLD, NEW)


@pytest.mark.parametrize(
    "asked",
    [
        body(temperature=1.0),
        body(temperature=None),
        body(top_p=0.9),
        body(top_k=5),
        body(messages=[turn("user", TEXT), turn("assistant", DOCUMENT), turn("user", TEXT)]),
        body(messages=[turn("user", CITED)]),
        body(messages=[turn("user", FOUND, TEXT)]),
        body(messages=[turn("user", TEXT), turn("system", CITED)]),
    ],
)
def test_what_one_version_refuses_the_other_does_not_answer_for(asked: Body) -> None:
    assert not same(asked, OLD, NEW)


@pytest.mark.parametrize("version", ["2023-01-01", "2026-10-22", "2027-01-01", "", "2023-06-01 "])
def test_a_version_nobody_knows_is_apart(version: str) -> None:
    for known in (OLD, NEW, {}):
        assert not same(body(), known, {"anthropic-version": version})


@given(st.text(max_size=8), st.text(max_size=8))
def test_versions_are_told_apart_unless_they_are_those_two(one: str, other: str) -> None:
    headers = [{"anthropic-version": version} for version in (one, other)]
    assert same(body(), headers[0], headers[1]) == (one == other)


def test_a_browser_asks_as_all_others_do() -> None:
    assert same(body(), {BROWSER: "true"}, {})
    for value in ("false", "", "True", "true, true"):
        assert not same(body(), {BROWSER: value}, {})


@given(st.dictionaries(st.sampled_from(["anthropic-a", "anthropic-workspace-id"]), st.text()))
def test_all_other_headers_of_claude_stay(others: dict[str, str]) -> None:
    sent = {**OLD, BROWSER: "true", "anthropic-beta": "b", "x-app": "cli", **others}
    assert shaping_headers(sent, body()) == {**NEW, **others}


@pytest.mark.parametrize("headers", [OLD, {BROWSER: "true"}, {**OLD, BROWSER: "true"}])
def test_a_call_that_claude_may_refuse_is_not_shared(headers: dict[str, Any]) -> None:
    query = ask(body(), headers=headers)
    assert query.headers.items() >= headers.items()  # forwarded as they came
    assert ask_key(query) != ask_key(ask(body()))
    assert ask_key(query) == ask_key(ask(body(), headers=headers))
