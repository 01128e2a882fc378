"""The ledger through the front door."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from cacheserver.core.types import Usage
from tests.house import ADMIN_KEY, MODEL, House
from tests.ledger.rows import row

ADMIN = {"x-api-key": ADMIN_KEY}


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[tuple[House, str]]:
    """A house in which one tenant asked one question three times, and another asked once."""
    async with House.open(tmp_path) as house:
        key, other = await house.key("acme"), await house.key("beta")
        for _ in range(3):
            await house.ask("Capital of France?", key=key)
        await house.ask("Capital of France?", key=other, model="claude-opus-4-8")
        yield house, key


async def usage(house: House, key: str, **params: str) -> dict[str, Any]:
    got = await house.http.get("/v1/usage", params=params, headers={"x-api-key": key})
    assert got.status_code == 200, got.text
    found: dict[str, Any] = got.json()
    return found


async def test_a_tenant_sees_what_it_paid_and_saved_and_nothing_of_others(
    asked: tuple[House, str],
) -> None:
    house, key = asked
    found = await usage(house, key)
    totals = found["totals"]
    assert (totals["requests"], totals["calls"]) == (3, 1)
    assert (totals["decisions"]["miss"], totals["decisions"]["exact"]) == (1, 2)
    cost = Decimal(totals["cost_usd"])
    assert cost > 0
    assert (
        Decimal(totals["saved_usd"]) == 2 * cost == Decimal(totals["saved_by_cause_usd"]["exact"])
    )
    assert Decimal(totals["counterfactual_usd"]) == 3 * cost
    assert Decimal(totals["cost_per_call"]["usd"]) == round(cost / 3, 9)
    assert totals["cost_per_call"] | {"usd": ""} == {
        "usd": "",
        "target_usd": "0.010000000",
        "met": True,
    }
    assert [model["model"] for model in found["models"]] == [MODEL]
    for name in ("beta", "claude-opus-4-8"):
        assert name not in json.dumps(found)


async def test_an_admin_sees_everybody_or_the_one_that_is_named(asked: tuple[House, str]) -> None:
    house, key = asked
    everybody = await usage(house, ADMIN_KEY, group_by="tenant,model")
    assert [(g["tenant"], g["model"], g["requests"]) for g in everybody["groups"]] == [
        ("acme", MODEL, 3),
        ("beta", "claude-opus-4-8", 1),
    ]
    assert everybody["totals"]["requests"] == 4
    assert (await usage(house, ADMIN_KEY, tenant="beta"))["totals"]["requests"] == 1
    refused = await house.http.get("/v1/usage?tenant=beta", headers={"x-api-key": key})
    assert refused.status_code == 403
    assert (await usage(house, key, tenant="acme"))["totals"]["requests"] == 3


@pytest.mark.parametrize("by", ["day", "hour", "minute", "decision", "cause", "key", "day,cause"])
async def test_groups_sum_to_the_whole(asked: tuple[House, str], by: str) -> None:
    house, key = asked
    now = house.clock()
    found = await usage(house, key, group_by=by, **{"from": str(int(now) - 3_600)})
    groups = found["groups"]
    assert groups
    if "cause" in by:
        saved = sum(Decimal(group.get("saved_usd", 0)) for group in groups)
        assert saved == Decimal(found["totals"]["saved_usd"]) > 0
    else:
        assert sum(group["requests"] for group in groups) == 3


async def test_causes_and_decisions_that_are_named_are_shown_alone(
    asked: tuple[House, str],
) -> None:
    house, key = asked
    found = await usage(house, key, group_by="day,decision", decision="exact,stale")
    assert [(one["decision"], one["requests"]) for one in found["groups"]] == [("exact", 2)]
    found = await usage(house, key, group_by="cause", cause="exact")
    assert [one["cause"] for one in found["groups"]] == ["exact"]
    assert (await usage(house, key, group_by="cause", cause="audit"))["groups"] == []


async def test_the_operators_price_of_a_wrong_answer_holds_where_none_is_asked_for(
    tmp_path: Path,
) -> None:
    async with House.open(tmp_path, similarity=0.7, wrong_hit_usd=3.0) as house:
        await house.ask("How do I reset my password?")
        await house.ask("How can I reset my password?")
        wrong = (await usage(house, "any"))["wrong_hits"]
        assert (wrong["semantic_hits"], wrong["price_per_wrong_usd"]) == (1, "3.000000000")
        asked = (await usage(house, "any", wrong_hit_usd="0"))["wrong_hits"]
        assert asked["price_per_wrong_usd"] == "0.000000000"


async def test_an_estimate_of_wrong_hits_stands_beside_the_savings(tmp_path: Path) -> None:
    async with House.open(tmp_path, similarity=0.7) as house:
        await house.ask("How do I reset my password?")
        await house.ask("How can I reset my password?")
        found = await usage(house, "any", wrong_hit_usd="2")
        wrong = found["wrong_hits"]
        assert wrong["semantic_hits"] == 1
        assert (wrong["labels"], wrong["share"], wrong["interval"]) == (0, None, [0.0, 1.0])
        saved = Decimal(found["totals"]["net_saved_usd"])
        assert saved > 0
        assert [Decimal(each) for each in wrong["net_saved_interval_usd"]] == [saved - 2, saved]


@pytest.mark.parametrize("few", [0, 10_000])
async def test_conversations_of_everybody_are_each_tenants_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Added up at once, or in a thread where they are many."""
    monkeypatch.setattr("cacheserver.ledger.reports._FEW", few)
    async with House.open(tmp_path) as house:
        now = house.clock()
        for tenant, name, days in (("acme", "c", 0), ("acme", "c", 1), ("beta", "c", 0)):
            one = row(at=now - days * 86_400, tenant=tenant, conversation=name, cost=20_000_000)
            house.parts.ledger.append(one)
        house.parts.ledger.append(row(at=now, tenant="acme", tags=("t",), task="qa", cost=1))
        everybody = (await usage(house, ADMIN_KEY))["conversations"]
        assert (everybody["count"], everybody["requests"]) == (2, 3)
        assert everybody["cost_usd"] == "0.060000000"
        assert everybody["cost_per_conversation"]["usd"] == "0.030000000"
        await house.key("acme")
        one = (await usage(house, ADMIN_KEY, tenant="acme"))["conversations"]
        assert (one["count"], one["cost_usd"]) == (1, "0.040000000")
        tags = (await usage(house, ADMIN_KEY, group_by="tag"))["groups"]
        assert [(each["tag"], each["requests"]) for each in tags] == [("t", 1)]


async def test_tasks_tags_and_conversations_are_counted_by_themselves(tmp_path: Path) -> None:
    async with House.open(tmp_path) as house:
        now = house.clock()
        for n in range(4):
            house.parts.ledger.append(
                row(
                    at=now,
                    tenant="default",
                    task="support",
                    tags=("a", f"b{n}"),
                    conversation=f"c{n % 2}",
                    cost=n * 10_000_000,
                    usage=Usage(1),
                )
            )
        tasks = await usage(house, "any", group_by="task")
        assert tasks["groups"] == [
            {"task": "support", "requests": 4, "cost_usd": "0.060000000"}
            | {"saved_usd": "0.000000000", "spent_usd": "0.000000000"}
        ]
        tags = (await usage(house, "any", group_by="tag"))["groups"]
        assert [tag["tag"] for tag in tags] == ["a", "b3", "b2", "b1", "b0"]
        talks = tasks["conversations"]
        assert (talks["count"], talks["over_target"], talks["requests"]) == (2, 2, 4)
        assert talks["cost_per_conversation"]["usd"] == "0.030000000"
        assert talks["cost_per_conversation"]["met"] is False


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": "-1"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "from"),
        ({"from": "2020-01-01"}, "from"),
        ({"from": "2026-09-01", "group_by": "minute"}, "from"),
        ({"group_by": "colour"}, "group_by"),
        ({"group_by": "tag,day"}, "group_by"),
        ({"group_by": "day,hour"}, "group_by"),
        ({"group_by": "day,day"}, "group_by"),
        ({"group_by": "tenant,key,model,day"}, "group_by"),
        ({"target_usd": "-1"}, "target_usd"),
        ({"wrong_hit_usd": "nan"}, "wrong_hit_usd"),
        ({"cause": "magic", "group_by": "cause"}, "cause"),
        ({"cause": "exact"}, "cause"),
        ({"decision": "exact,maybe", "group_by": "decision"}, "decision"),
    ],
)
async def test_a_bad_question_is_a_400_naming_the_field(
    house: House, params: dict[str, str], field: str
) -> None:
    got = await house.http.get("/v1/usage", params=params)
    assert got.status_code == 400
    assert got.json()["error"]["message"].startswith(f"`{field}`")


async def test_rows_are_exported_alike_in_every_format_and_duckdb_reads_them(
    asked: tuple[House, str], tmp_path: Path
) -> None:
    house, key = asked
    files: dict[str, bytes] = {}
    for format in ("csv", "jsonl", "parquet"):
        got = await house.http.get(f"/v1/usage/export?format={format}", headers={"x-api-key": key})
        assert got.status_code == 200
        files[format] = got.content
        (tmp_path / f"usage.{format}").write_bytes(got.content)
    lines = [json.loads(line) for line in files["jsonl"].splitlines()]
    assert len(lines) == 3
    assert {line["tenant"] for line in lines} == {"acme"}
    table = pq.read_table(tmp_path / "usage.parquet").to_pylist()
    assert [line["id"] for line in lines] == [each["id"] for each in table]
    sheet = list(csv.DictReader(io.StringIO(files["csv"].decode())))
    for line, cells in zip(lines, sheet, strict=True):
        for name in ("cost_nanodollars", "saved_exact", "counterfactual_nanodollars"):
            assert int(cells[name]) == line[name]
    with duckdb.connect() as db:
        for format, reader in [("parquet", "read_parquet"), ("jsonl", "read_json_auto")]:
            (cost, saved) = db.execute(
                f"SELECT sum(cost_nanodollars), sum(saved_nanodollars) "
                f"FROM {reader}('{tmp_path}/usage.{format}')"
            ).fetchall()[0]
            assert saved == 2 * cost > 0


@pytest.mark.parametrize(
    ("query", "field"), [("format=xls", "format"), ("format=csv&group_by=day", "group_by")]
)
async def test_a_bad_export_is_a_400(house: House, query: str, field: str) -> None:
    got = await house.http.get(f"/v1/usage/export?{query}")
    assert got.status_code == 400
    assert got.json()["error"]["message"].startswith(f"`{field}`")


async def test_prices_are_todays_with_their_version(house: House) -> None:
    found = (await house.http.get("/v1/prices")).json()
    rates = {model["model"]: model for model in found["models"]}
    assert rates["claude-opus-5-5"]["standard"] == {
        "input": "4",
        "output": "20",
        "cache_write_5m": "5",
        "cache_write_1h": "8",
        "cache_read": "0.2",
    }
    assert rates["claude-opus-5-5"]["fast"]["output"] == "40"
    assert rates["claude-sonnet-5-5"]["batch"]["input"] == "1"
    assert rates["claude-sonnet-5-5"]["fast"] is None
    (long,) = rates["claude-haiku-5-5"]["long_prompts"]
    assert (long["over_prompt_tokens"], long["input"], long["output"]) == (100_000, "0.5", "2.5")
    assert rates["claude-opus-5-5"]["long_prompts"] == []
    assert rates["claude-opus-5-5"]["web_search_per_1000"] == "10"
    assert found["version"].startswith("genai-prices-")
    assert found["us_only_factor"] == "1.1"


async def test_prices_are_those_of_another_day_where_one_is_named(house: House) -> None:
    read = {}
    for day in ("2026-10-06", "2026-10-07"):
        found = (await house.http.get("/v1/prices", params={"at": day})).json()
        assert found["at"] == f"{day}T00:00:00Z"
        rates = {model["model"]: model for model in found["models"]}
        read[day] = rates["claude-sonnet-5-5"]["standard"]["cache_read"]
    assert read == {"2026-10-06": "0.2", "2026-10-07": "0.1"}
    got = await house.http.get("/v1/prices", params={"at": "soon"})
    assert got.status_code == 400
    assert got.json()["error"]["message"].startswith("`at`")


async def test_a_prompt_is_priced_before_it_is_sent(house: House) -> None:
    body = {
        "model": MODEL,
        "max_tokens": 1_000,
        "messages": [{"role": "user", "content": "x" * 2_500}],
    }
    found = (await house.http.post("/v1/estimate", json=body)).json()
    assert (found["input_tokens"], found["max_tokens"]) == (1_000, 1_000)
    assert (found["least_usd"], found["most_usd"]) == ("0.000100000", "0.000600000")
    assert house.asked == []


async def test_a_batch_is_priced_before_it_is_sent_at_half_the_price(house: House) -> None:
    body = {
        "model": MODEL,
        "max_tokens": 1_000,
        "messages": [{"role": "user", "content": "x" * 2_500}],
    }
    items = [{"custom_id": name, "params": body} for name in "abc"]
    items.append({"custom_id": "d", "params": {**body, "model": "claude-unheard-of"}})
    found = (await house.http.post("/v1/estimate", json={"requests": items})).json()
    assert (found["estimate"], found["requests"], found["unpriced"]) == ("batch", 4, 1)
    assert (found["least_usd"], found["most_usd"]) == ("0.000150000", "0.000900000")
    for wrong, field in (
        ({"custom_id": "e"}, "requests.1.params"),
        ({"custom_id": "e", "params": {**body, "max_tokens": -1}}, "requests.1.params.max_tokens"),
    ):
        got = await house.http.post("/v1/estimate", json={"requests": [items[0], wrong]})
        assert got.status_code == 400
        assert got.json()["error"]["message"].startswith(f"`{field}`")


async def test_a_workload_is_priced_with_its_levers(house: House) -> None:
    plan = {
        "model": "claude-sonnet-5-5",
        "requests": 1_000,
        "input_tokens": 3_000,
        "output_tokens": 100,
        "prefix_tokens": 2_000,
        "reused": 0.9,
        "answered": 0.5,
    }
    found = (await house.http.post("/v1/estimate", json=plan)).json()
    # 500 calls: 450 read (1,000 x 2 + 2,000 x 0.1 + 100 x 10 = 3,200), 50 write (2,000 + 5,000 +
    # 1,000 = 8,000), in thousands of nanodollars; plain 1,000 x (6,000 + 1,000).
    assert found["calls"] == 500
    assert found["cost_usd"] == "1.840000000"
    assert found["plain_usd"] == "7.000000000"
    assert found["saved_usd"] == "5.160000000"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": []}, "model"),
        ({"model": MODEL, "messages": [], "max_tokens": 1}, "messages"),
        ({"model": MODEL, "messages": [{"role": "user", "content": "x"}]}, "max_tokens"),
        ({"model": MODEL}, "requests"),
        ({"model": MODEL, "requests": -1, "input_tokens": 1, "output_tokens": 1}, "requests"),
        (
            {"model": MODEL, "requests": 1, "input_tokens": 1, "output_tokens": 1, "reused": 2},
            "reused",
        ),
        (
            {"model": MODEL, "requests": 1, "input_tokens": 1, "output_tokens": 1, "cache": 1},
            "cache",
        ),
    ],
)
async def test_a_bad_plan_is_a_400(house: House, body: dict[str, Any], field: str) -> None:
    got = await house.http.post("/v1/estimate", json=body)
    assert got.status_code == 400
    assert got.json()["error"]["message"].startswith(f"`{field}`")


async def test_a_model_without_a_price_works_and_is_counted_as_unpriced(tmp_path: Path) -> None:
    async with House.open(tmp_path) as house:
        await house.ask("Hello?", speed="fast")  # no fast price of Haiku was ever published
        totals = (await usage(house, "any"))["totals"]
        assert (totals["requests"], totals["calls"], totals["unpriced"]) == (1, 1, 1)
        assert "cacheserver_unpriced_total 1.0" in house.parts.metrics.render().decode()
