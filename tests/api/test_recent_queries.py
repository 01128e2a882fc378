"""Requests that come again are read once, and never taken for another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cacheserver.api.dependencies import Caller
from cacheserver.api.recent_queries import RecentQueries
from cacheserver.cache import controls
from cacheserver.core.types import Tenant
from tests.cache.queries import query

RAW = b'{"model": "m"}'
CALLER = Caller(Tenant("acme"), None, "k1")
QUERY = replace(query("What?"), tenant=CALLER.tenant)
NAMES = ["anthropic-version", "anthropic-beta", "x-claude-code-session", "x-cache", "x-cachettl"]
HEADERS = [(b"host", b"localhost"), (b"x-api-key", b"secret")]


def scope(*more: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"path": "/v1/messages", "headers": [*HEADERS, *more]}


@pytest.fixture
def recent() -> RecentQueries:
    found = RecentQueries(100_000)
    found.keep(scope(), RAW, CALLER, QUERY)
    return found


def test_the_same_request_is_found_whatever_else_its_headers_say(recent: RecentQueries) -> None:
    assert recent.get(scope(), RAW, CALLER) is QUERY
    assert recent.get(scope((b"traceparent", b"00-1-2-00")), RAW, CALLER) is QUERY


@pytest.mark.parametrize(
    "name",
    [*sorted(controls._HEADERS), *NAMES],
)
def test_a_header_that_counts_makes_another_request(recent: RecentQueries, name: str) -> None:
    assert recent.get(scope((name.encode(), b"60")), RAW, CALLER) is None


@pytest.mark.parametrize(
    "caller",
    [
        Caller(Tenant("other"), None, "k1"),
        Caller(Tenant("acme"), None, "k2"),
        Caller(Tenant("acme"), None, None),
        Caller(Tenant("acme", default_ttl_s=7), None, "k1"),
        Caller(Tenant("acme", routing_epoch=1), None, "k1"),
    ],
)
def test_another_tenant_key_or_setting_makes_another_request(
    recent: RecentQueries, caller: Caller
) -> None:
    assert recent.get(scope(), RAW, caller) is None
    assert recent.get(scope(), RAW + b" ", CALLER) is None
    assert recent.get({**scope(), "path": "/v1/query"}, RAW, CALLER) is None


@pytest.mark.parametrize(
    "caller",
    [
        Caller(Tenant("acme"), "sk-ant-own", "k1"),
        Caller(Tenant("acme", no_content=True, digest_key=b"k"), None, "k1"),
    ],
)
def test_nothing_is_kept_of_own_credentials_and_of_tenants_without_content(caller: Caller) -> None:
    recent = RecentQueries(100_000)
    recent.keep(scope(), RAW, caller, replace(QUERY, tenant=caller.tenant))
    assert recent.get(scope(), RAW, caller) is None
    assert recent.size == 0


def test_memory_is_bounded(recent: RecentQueries) -> None:
    for n in range(1_000):
        recent.keep(scope(), b"%d" % n, CALLER, QUERY)
        assert 0 < recent.size <= 100_000
    assert recent.get(scope(), RAW, CALLER) is None
    recent.forget()
    assert recent.size == 0
