"""The check of lifetimes says what the next request then has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.admin import ADMIN, put
from tests.house import MODEL, House

RULES = [
    {"namespace": "news", "default_ttl_s": 60, "max_ttl_s": 600},
    {"task": "summary", "default_ttl_s": 7_200},
    {"model": MODEL, "max_ttl_s": 1_000},
]


@pytest.mark.parametrize(
    ("given", "ttl_s", "decides"),
    [
        ({}, 3_600, "default"),
        ({"namespace": "news"}, 60, "ttl_rules.0"),
        ({"namespace": "news", "ttl_s": 5_000}, 600, "ttl_rules.0"),
        ({"task": "summary", "model": MODEL}, 1_000, "ttl_rules.2"),
        ({"ttl_s": 50}, 50, "caller"),
        ({"ttl_s": 31_000_000}, 2_592_000, "maximum"),
        ({"question": "What is the weather in Rome today?"}, 300, "volatility"),
        ({"question": "How do I reset my password?"}, 3_600, "default"),
    ],
)
async def test_the_rule_that_decides_is_told_and_is_the_one_that_holds(
    house: House, given: dict[str, Any], ttl_s: int, decides: str
) -> None:
    await put(house, "tenants/default", ttl_rules=RULES)
    got = await house.http.post("/admin/v1/tenants/default/ttl-check", headers=ADMIN, json=given)
    assert got.status_code == 200, got.text
    assert (got.json()["ttl_s"], got.json()["decides"]) == (ttl_s, decides)
    asked = {"prompt": given.get("question", "Who?"), "model": given.get("model", "auto")}
    asked |= {name: given[name] for name in ("namespace", "task", "ttl_s") if name in given}
    answer = await house.http.post("/v1/query", json=asked)
    assert answer.json()["ttl_s"] == ttl_s


async def test_a_check_is_no_change(house: House) -> None:
    made = await house.http.post(
        "/admin/v1/admin-keys", headers=ADMIN, json={"name": "eve", "role": "tune"}
    )
    before = (await house.http.get("/admin/v1/audit-trail", headers=ADMIN)).json()
    key = {"x-api-key": made.json()["key"]}
    path = "/admin/v1/tenants/default/ttl-check"
    assert (await house.http.post(path, headers=key, json={})).status_code == 200
    wrong = await house.http.post(path, headers=key, json={"ttl_s": -1})
    assert wrong.json()["error"]["message"].startswith("`ttl_s`")
    assert (await house.http.get("/admin/v1/audit-trail", headers=ADMIN)).json() == before
