"""Which paths are passed on, and what the server's key may do."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.passthrough import rules
from cacheserver.passthrough.owners import unescaped


@pytest.mark.parametrize(
    "sent",
    [
        "/v1/files/../models", "/v1/files/%2e%2e/models", "/v1/files/.", "/v1/files//x",
        "/v1//files",
        "/v1/files/a%2Fb", "/v1/files/a%2fcontent", "/v1/files/a%252fb", "/v1/files/a\\b",
        "/v1/files/", "/v1/", "/v1", "/v2/files", "/files", "//evil.example/v1/files",
        "http://evil.example/v1/files", "/v1/files/a;b", "/v1/files/a%00", "/v1/files/a%0d%0ab",
        "/v1/files/a b", "/v1/files/é", "/v1/files/x?y", "/v1/" + "a/" * 12 + "a",
        "/v1/files/" + "a" * 257, "/V1/files", "/x/v1/files", "/v1/.hidden", "/v1/files/-rf",
    ],
)  # fmt: skip
def test_a_path_that_could_be_read_in_two_ways_is_not_passed_on(sent: str) -> None:
    assert rules.read(unquote(sent), sent.encode()) is None


@pytest.mark.parametrize(
    "sent",
    ["/v1/files", "/v1/files/file_01AbC/content", "/v1/skills/pdf", "/v1/a:b@2", "/v1/new.one/x~y"],
)  # fmt: skip
def test_a_plain_path_is_what_was_sent(sent: str) -> None:
    place = rules.read(sent, sent.encode())
    assert place is not None
    assert place.path == sent


@given(st.text(max_size=60), st.binary(max_size=60))
def test_what_is_passed_on_stays_under_v1(path: str, raw: bytes) -> None:
    place = rules.read(f"/v1/{path}", raw)
    if place is not None:
        assert place.path == f"/v1/{path}"
        assert not {".", "..", ""} & set(place.segments)
        assert place.path.isascii()
        assert not set(place.path) & set("%?#\\; \r\n")


def of(path: str) -> rules.Place:
    place = rules.read(path, path.encode())
    assert place is not None
    return place


@pytest.mark.parametrize(
    ("method", "path", "act"),
    [
        ("POST", "/v1/files", "create"), ("GET", "/v1/files", "list"),
        ("GET", "/v1/files/file_1", "use"), ("DELETE", "/v1/files/file_1", "use"),
        ("GET", "/v1/skills/pdf", "read"), ("DELETE", "/v1/skills/pdf", "use"),
        ("POST", "/v1/skills/pdf/versions", "use"), ("GET", "/v1/skills/skill_01", "use"),
        ("GET", "/v1/files/pdf", "use"), ("GET", "/v1/environments/env_1/tasks/poll", "use"),
    ],
)  # fmt: skip
def test_the_servers_key_reaches_what_its_tenant_made(method: str, path: str, act: str) -> None:
    assert rules.act(method, of(path)) == act


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/sessions"), ("GET", "/v1/organizations/me"), ("POST", "/v1/tomorrow"),
        ("DELETE", "/v1/files"), ("PUT", "/v1/skills"), ("POST", "/v1/messages/tomorrow"),
    ],
)  # fmt: skip
def test_what_costs_or_is_the_accounts_is_refused_with_what_to_do(method: str, path: str) -> None:
    found = rules.act(method, of(path))
    assert isinstance(found, rules.Refusal)
    assert "CACHESERVER_CREDENTIALS=caller" in found.reason


@pytest.mark.parametrize(
    "body",
    [
        b'{"file_id": "file_01AbCdEfGh"}', b'{"file_id"\n :\t"file_01AbCdEfGh"}',
        b'[{"a": {"file_id":"file_01AbCdEfGh"}}]',
    ],
)  # fmt: skip
def test_files_that_a_request_names_are_found(body: bytes) -> None:
    assert rules.may_name(body)
    assert rules.named(body) == ["file_01AbCdEfGh"]


def test_letters_of_other_languages_cost_nothing_and_hidden_names_are_read() -> None:
    assert not rules.may_name(b'{"content": "caf\\u00e9, na\\u00efve, tab\\u0009"}')
    for body in (b'{"file\\u005fid": "file_01Ab"}', b'{"skill_id": "file_\\u0030\\u0031Ab"}'):
        assert rules.may_name(body)
        assert rules.named(unescaped(body)) == ["file_01Ab"]


def test_a_text_about_files_names_none() -> None:
    assert not rules.may_name(b'{"messages": [{"content": "What is a file_id? file_01AbCdEfGh"}]}')


def test_a_page_shows_no_id_that_was_filtered_out() -> None:
    page = {"data": [{"id": "a"}, {"id": "b"}], "has_more": True, "first_id": "a", "last_id": "b"}
    assert rules.filtered(page, [{"id": "b"}])["first_id"] == "b"
    assert rules.filtered(page, [])["last_id"] is None
    assert "total" not in rules.filtered({**page, "total": 2}, [])
    assert rules.next_cursor(page) == ("after_id", "b")
    assert rules.next_cursor(page, backwards=True) == ("before_id", "a")
    assert rules.next_cursor({**page, "has_more": False}, backwards=True) is None
    assert rules.next_cursor({"data": [], "next_page": "page_2"}, backwards=True) is None
    assert rules.next_cursor({"data": [], "next_page": "page_2"}) == ("page", "page_2")
    assert rules.next_cursor({"data": [], "next_page": None}) is None
