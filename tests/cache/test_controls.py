"""What a caller may ask of the cache, in headers and in `/v1/query` fields."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from cacheserver.cache.controls import query_controls, read_controls
from cacheserver.core.errors import BadRequest
from cacheserver.core.types import Controls


@pytest.mark.parametrize(
    ("headers", "controls"),
    [
        ({}, Controls()),
        ({"cache-control": ""}, Controls()),
        ({"cache-control": "no-store"}, Controls(read=False, store=False)),
        ({"cache-control": "No-Cache"}, Controls(read=False)),
        ({"cache-control": "max-age=60"}, Controls(max_age_s=60)),
        ({"cache-control": "max-age=0"}, Controls(max_age_s=0)),
        ({"cache-control": "only-if-cached"}, Controls(only=True)),
        ({"cache-control": " , max-age=5 ,ONLY-IF-CACHED,"}, Controls(only=True, max_age_s=5)),
        ({"cache-control": "no-cache, no-store"}, Controls(read=False, store=False)),
        # RFC 9111: both spellings of an argument, and of two the tighter one
        ({"cache-control": 'max-age="60"'}, Controls(max_age_s=60)),
        ({"cache-control": "max-age=5, max-age=60"}, Controls(max_age_s=5)),
        ({"cache-control": "max-age=99999999999999999999999"}, Controls(max_age_s=2**31 - 1)),
        ({"cache-control": "min-fresh=9, min-fresh=5"}, Controls(min_fresh_s=9)),
        ({"cache-control": 'no-cache="set-cookie, x", max-age=1'}, Controls(False, max_age_s=1)),
        ({"cache-control": "no-store=1"}, Controls(read=False, store=False)),
        # what is known and malformed has its tightest meaning
        ({"cache-control": "max-age"}, Controls(max_age_s=0)),
        ({"cache-control": "max-age="}, Controls(max_age_s=0)),
        ({"cache-control": "max-age=-1"}, Controls(max_age_s=0)),
        ({"cache-control": "max-age=1.5"}, Controls(max_age_s=0)),
        ({"cache-control": "max-age=٣"}, Controls(max_age_s=0)),
        ({"cache-control": "min-fresh=soon"}, Controls(min_fresh_s=2**31 - 1)),
        # what tightens is honoured, what would loosen only bounds
        ({"cache-control": "must-revalidate"}, Controls(max_stale_s=0)),
        ({"cache-control": "proxy-revalidate"}, Controls(max_stale_s=0)),
        ({"cache-control": "max-stale"}, Controls()),
        ({"cache-control": "max-stale=5, stale-if-error=3"}, Controls(max_stale_s=3)),
        ({"cache-control": "max-stale=x"}, Controls(max_stale_s=0)),
        ({"cache-control": "private"}, Controls(ttl_s=0)),
        ({"cache-control": "private", "x-cache-ttl": "60"}, Controls(ttl_s=0)),
        (
            {"cache-control": "no-transform"},
            Controls(off=("routing", "prompt-caching", "output-cap", "history")),
        ),
        # and what is not known is not ours
        ({"cache-control": "no-stor"}, Controls()),
        ({"cache-control": 'public, immutable, x=y, =5, community="a, no-store"'}, Controls()),
        ({"x-cache": "HIT"}, Controls()),
        ({"x-cache": "TCP_MISS from proxy.example"}, Controls()),
        ({"x-cache": "Miss from cloudfront"}, Controls()),
        ({"x-cacheserver-key": "cs_x"}, Controls()),
        ({"x-cache-ttl": "0"}, Controls(ttl_s=0)),
        ({"x-cache-ttl": "9999999999"}, Controls(ttl_s=9_999_999_999)),
        (
            {"x-cache-tags": "user:42, docs/intro,user:42,"},
            Controls(tags=("user:42", "docs/intro")),
        ),
        ({"x-cache-tags": ""}, Controls()),
        ({"x-cache-namespace": "Team-1.a_b"}, Controls(namespace="Team-1.a_b")),
        ({"x-cache-task": "summary"}, Controls(task="summary")),
    ],
)
def test_headers_are_read(headers: dict[str, str], controls: Controls) -> None:
    assert read_controls(headers) == controls


@pytest.mark.parametrize(
    ("header", "value", "says"),
    [
        ("cache-control", "no-store, only-if-cached", "contradicts"),
        ("cache-control", "no-cache, only-if-cached", "contradicts"),
        ("x-cache-ttl", "", "whole seconds"),
        ("x-cache-ttl", "1h", "whole seconds"),
        ("x-cache-ttl", "-5", "whole seconds"),
        ("x-cache-ttl", "+5", "whole seconds"),
        ("x-cache-ttl", "5, 6", "whole seconds"),
        ("x-cache-tags", "a b", "letters"),
        ("x-cache-tags", "t" * 65, "letters"),
        ("x-cache-tags", ",".join(f"t{n}" for n in range(17)), "at most 16"),
        ("x-cache-namespace", "", "letters"),
        ("x-cache-namespace", "a/b", "letters"),
        ("x-cache-namespace", "n" * 65, "letters"),
        ("x-cache-namespace", "line\n", "letters"),
        ("x-cache-task", "é", "letters"),
        ("x-cache-namespce", "a", "did you mean `x-cache-namespace`"),
        ("x-cache-tll", "0", "did you mean `x-cache-ttl`"),
        ("x-cachettl", "0", "did you mean `x-cache-ttl`"),
        ("x-cache_ttl", "0", "did you mean `x-cache-ttl`"),
        ("x-cacheserver-ttl", "0", "not known"),
        ("x-cache-webhook", "https://a.example", "not known"),
        ("x-cache", "no-store", "response header"),
        ("x-cache", "bypass", "response header"),
        ("x-cache-reason", "identical", "response header"),
        ("x-cache-entry", "0" * 32, "response header"),
        ("x-cache-hits", "3", "response header"),
        ("x-cache-check", '{"contains": ["é"]}', "ASCII"),
        ("x-cache-namespace", "a\u200bb", "letters"),
        ("x-cache-task", "\u3164", "letters"),
        ("x-cache-tags", "a\u00adb", "letters"),
        ("x-cache-vetoes-off", "entity", "not known"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(header: str, value: str, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as refused:
        read_controls({header: value})
    assert refused.value.field == header


def test_a_header_sent_twice_is_one_list_and_nothing_in_it_is_lost() -> None:
    twice = Headers(raw=[(b"cache-control", b"max-age=9"), (b"cache-control", b"no-store")])
    assert read_controls(twice) == Controls(read=False, store=False, max_age_s=9)
    names = Headers(raw=[(b"x-cache-namespace", b"a"), (b"x-cache-namespace", b"b")])
    with pytest.raises(BadRequest):
        read_controls(names)
    tags = Headers(raw=[(b"x-cache-tags", b"a"), (b"x-cache-tags", b"b")])
    assert read_controls(tags).tags == ("a", "b")


@pytest.mark.parametrize(
    ("fields", "controls"),
    [
        ({}, Controls()),
        ({"cache": None, "ttl_s": None, "tags": None, "namespace": None, "task": None}, Controls()),
        ({"cache": "default"}, Controls()),
        ({"cache": "refresh"}, Controls(read=False)),
        ({"cache": "only"}, Controls(only=True)),
        ({"cache": "off"}, Controls(read=False, store=False)),
        ({"ttl_s": 0}, Controls(ttl_s=0)),
        ({"tags": ["a", "b", "a"]}, Controls(tags=("a", "b"))),
        ({"namespace": "n", "task": "t"}, Controls(namespace="n", task="t")),
        ({"requires_deep_analysis": True}, Controls(deep=True)),
    ],
)
def test_query_fields_are_read(fields: dict[str, Any], controls: Controls) -> None:
    assert query_controls(fields, {}) == controls


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cache", "none"),
        ("cache", True),
        ("cache", ["off"]),
        ("ttl_s", "60"),
        ("ttl_s", 1.0),
        ("ttl_s", True),
        ("ttl_s", -1),
        ("ttl_s", 10**10),
        ("tags", "a"),
        ("tags", {"a": 1}),
        ("tags", [1]),
        ("tags", [""]),
        ("tags", ["a,b"]),
        ("tags", [f"t{n}" for n in range(17)]),
        ("namespace", 1),
        ("namespace", "a b"),
        ("task", ""),
        ("requires_deep_analysis", 1),
    ],
)
def test_a_wrong_query_field_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(BadRequest) as refused:
        query_controls({field: value}, {})
    assert refused.value.field == field


def test_the_tighter_of_field_and_header_holds() -> None:
    headers = {"cache-control": "no-store", "x-cache-ttl": "50", "x-cache-tags": "a"}
    assert query_controls({"cache": "default", "ttl_s": 60, "tags": ["b"]}, headers) == Controls(
        read=False, store=False, ttl_s=50, tags=("a", "b")
    )
    assert query_controls({"ttl_s": 40}, headers).ttl_s == 40


@pytest.mark.parametrize(
    ("field", "value", "headers"),
    [
        ("cache", "only", {"cache-control": "no-cache"}),
        ("cache", "refresh", {"cache-control": "only-if-cached"}),
        ("namespace", "a", {"x-cache-namespace": "b"}),
        ("task", "a", {"x-cache-task": "b"}),
        ("tags", ["z"], {"x-cache-tags": ",".join(f"t{n}" for n in range(16))}),
    ],
)
def test_fields_and_headers_that_contradict_are_refused(
    field: str, value: object, headers: dict[str, str]
) -> None:
    with pytest.raises(BadRequest) as refused:
        query_controls({field: value}, headers)
    assert refused.value.field == field


@given(st.text(max_size=40), st.sampled_from(["cache-control", "x-cache-ttl", "x-cache-tags"]))
def test_any_text_is_read_or_refused(text: str, header: str) -> None:
    try:
        controls = read_controls({header: text})
    except BadRequest as error:
        refused, controls = error.field, Controls()
    else:
        refused = header
    assert refused == header
    assert controls.read <= controls.store
    assert not (controls.only and not controls.read)


@given(st.text(max_size=40))
def test_no_cache_control_is_refused_but_a_contradiction(text: str) -> None:
    try:
        read_controls({"cache-control": text})
    except BadRequest as refused:
        assert "contradicts" in str(refused)


def test_all_that_our_answers_are_marked_with_is_known_as_such() -> None:
    page = (Path(__file__).parents[2] / "docs/api.md").read_text()
    _, _, after = page.partition("## Headers of every answer")
    marks = set(re.findall(r"^\| `(x-cache-[a-z]+)`", after.partition("## ")[0], re.MULTILINE))
    assert len(marks) > 8
    for mark in marks - {"x-cache-ttl"}:  # a control of the same name
        with pytest.raises(BadRequest, match="response header"):
            read_controls({mark: "x"})


known = st.sampled_from(
    [
        *("no-store", "no-cache", "max-age=7", "only-if-cached", "min-fresh=3", "private"),
        *("max-stale=9", "must-revalidate", "no-transform", "immutable"),
    ]
)


@given(st.lists(known), st.lists(known))
def test_more_directives_only_tighten(some: list[str], more: list[str]) -> None:
    def read(parts: list[str]) -> Controls | None:
        try:
            return read_controls({"cache-control": ",".join(parts)})
        except BadRequest:
            return None

    before, after = read(some), read(some + more)
    if before is None or after is None:
        assert after is None
        return
    assert (before.read, before.store) >= (after.read, after.store)
    assert before.only <= after.only
    assert before.min_fresh_s <= after.min_fresh_s
    assert set(before.off) <= set(after.off)
    for bound in ("max_age_s", "max_stale_s", "ttl_s"):
        old, new = getattr(before, bound), getattr(after, bound)
        assert old is None or (new is not None and new <= old)


@given(st.lists(known, unique=True), st.data())
def test_directives_mean_the_same_in_any_order_and_case(words: list[str], data: Any) -> None:
    def read(parts: list[str]) -> Controls | str:
        try:
            return read_controls({"cache-control": ", ".join(parts)})
        except BadRequest as refused:
            return refused.field

    other = [word.upper() for word in data.draw(st.permutations(words))]
    assert read(words) == read(other)
