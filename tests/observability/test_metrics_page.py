"""What `/metrics` tells after real traffic; the dashboard and the alerts ask for nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from cacheserver.core.ledger_row import CAUSES, SPENDS, Bounds, Row
from cacheserver.observability.ledger_metrics import LedgerMetrics
from cacheserver.simulated import Fault
from tests.house import ADMIN_KEY, House
from tests.models import ROOT

ADMIN = {"x-api-key": ADMIN_KEY}
FOLDER = ROOT / "docs" / "monitoring"

# What Prometheus adds to whatever it scrapes, and histograms to themselves.
_ADDED = frozenset({"instance", "job", "le"})

_METRIC = re.compile(r"\b((?:cacheserver|process)_\w+)(?:\{([^}]*)\})?")
_GROUPING = re.compile(r"\b(?:by|without|on)\s*\(([^)]*)\)")
_LABEL = re.compile(r'\s*(\w+)\s*(?:=~|!~|!=|=)\s*"[^"]*"\s*')
_WORDS = frozenset(
    {"sum", "max", "min", "count", "by", "rate", "increase", "histogram_quantile", "topk", "absent"}
    | {"and", "or", "offset", "le"}
)


async def scrape(house: House) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """Sample name -> labels -> value."""
    page = await house.http.get("/metrics", headers=ADMIN)
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(page.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def by(samples: dict[frozenset[tuple[str, str]], float], label: str) -> dict[str, int]:
    return {dict(labels)[label]: int(value) for labels, value in samples.items() if value}


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression that we ship, with where it stands."""
    dashboard = json.loads((FOLDER / "grafana.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    text = (FOLDER / "alerts.yml").read_text()
    rules = re.split(r"^      - alert: ", text, flags=re.M)[1:]
    assert len(rules) > 10
    for rule in rules:
        found = re.search(r"^        expr: (?:\|\n((?:          .*\n)+)|(.*))", rule, re.M)
        assert found is not None, rule
        yield rule.partition("\n")[0], found[1] or found[2]


def asked_for(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics of an expression and the labels it asks them for."""
    grouped = {
        label.strip() for found in _GROUPING.finditer(expression) for label in found[1].split(",")
    }
    for found in _METRIC.finditer(expression):
        labels = set(_LABEL.findall(found[2] or ""))
        assert _LABEL.sub("", found[2] or "").strip(",") == "", f"labels: {found[2]}"
        yield found[1], (labels | grouped) - _ADDED


@pytest.fixture
async def after_traffic(tmp_path: Path) -> Any:
    """What a server tells once all kinds of things have happened."""
    async with House.open(tmp_path, similarity=None) as house:
        budgets = {"budgets": {"daily": {"usd": 0.000001}, "at_limit": "warn"}}
        put = await house.http.put("/admin/v1/tenants/default", json=budgets, headers=ADMIN)
        assert put.status_code == 200, put.text
        for _ in range(2):
            await house.ask()
        await house.ask("What's the capital of France?")
        await house.ask("What is the capital of Germany?")
        house.upstream.faults.add(Fault("error", status=400))
        await house.ask("Another?")
        await house.http.get("/v1/nowhere")
        batch = {
            "requests": [
                {
                    "custom_id": "one",
                    "params": {
                        "model": "claude-haiku-5-5",
                        "max_tokens": 10,
                        "messages": [{"role": "user", "content": "Later?"}],
                    },
                }
            ]
        }
        taken = await house.http.post("/v1/messages/batches", json=batch)
        assert taken.status_code == 200, taken.text
        await house.parts.budgets.flush()
        await house.parts.gauge_sampler.sample()
        await house.parts.alerts.check()
        house.parts.metrics.dropped("otel-spans")
        house.parts.metrics.batched("sent")
        yield house


async def test_the_dashboard_and_the_alerts_ask_only_for_what_there_is(
    after_traffic: House,
) -> None:
    found = await scrape(after_traffic)
    for where, expression in expressions():
        for metric, labels in asked_for(expression):
            assert metric in found, f"{where}: {metric}"
            known = {name for sample in found[metric] for name, _ in sample}
            assert labels <= known, f"{where}: {metric} has no {labels - known}"


def test_every_expression_is_whole() -> None:
    for where, expression in expressions():
        bare = re.sub(r'"[^"]*"', "", expression).replace("$__rate_interval", "5m")
        for opening, closing in ("()", "[]", "{}"):
            depth = 0
            for sign in bare:
                depth += (sign == opening) - (sign == closing)
                assert depth >= 0, where
            assert depth == 0, where
        words = set(re.findall(r"\b[a-z_]+\b(?=\s*\()", re.sub(r"\{[^}]*\}", "", bare)))
        assert words <= _WORDS, f"{where}: {words - _WORDS}"


def test_the_dashboard_can_be_imported_anywhere() -> None:
    dashboard = json.loads((FOLDER / "grafana.json").read_text())
    assert (dashboard["uid"], dashboard["id"]) == (None, None)
    variables = {one["name"] for one in dashboard["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            sources = [panel["datasource"], *(one["datasource"] for one in panel["targets"])]
            assert all(source["uid"] == "${datasource}" for source in sources)


async def test_the_rows_metrics_are_what_the_ledger_says(after_traffic: House) -> None:
    house = after_traffic
    await house.ask(model="claude-haiku-5-5", system="Once more.")
    usage = await house.http.get("/v1/usage", params={"group_by": "model"})
    found, totals = await scrape(house), usage.json()["totals"]
    saved = by(found["cacheserver_saved_by_cause_nanodollars_total"], "cause")
    lost = by(found["cacheserver_lost_by_cause_nanodollars_total"], "cause")
    assert sum(saved.values()) - sum(lost.values()) == _nano(totals["saved_usd"])
    spent = by(found["cacheserver_spent_nanodollars_total"], "kind")
    assert sum(spent.values()) == _nano(totals["spent_usd"])
    cost = by(found["cacheserver_model_cost_nanodollars_total"], "model")
    assert sum(cost.values()) == _nano(totals["cost_usd"])
    assert saved.keys() >= {"exact", "semantic"}


async def test_budgets_stand_where_they_are(after_traffic: House) -> None:
    found = await scrape(after_traffic)
    assert by(found["cacheserver_budgets"], "state") == {"reached": 1}
    used = found["cacheserver_budget_used_ratio"]
    assert used[frozenset({("period", "day"), ("unit", "usd")})] > 1
    assert used[frozenset({("period", "month"), ("unit", "tokens")})] == 0
    assert by(found["cacheserver_alerts_total"], "kind")["budget-reached"] == 1
    assert found["cacheserver_stored_bytes"][frozenset()] > 0


amounts = st.integers(-(10**9), 10**9)
rows = st.builds(
    Row,
    id=st.just("dec_1"),
    at=st.just(0.0),
    tenant=st.just("default"),
    outcome=st.just("miss"),
    reason=st.just("empty"),
    asked=st.text(max_size=5),
    model=st.none() | st.text(max_size=5),
    cost=st.none() | st.integers(0, 10**9),
    saved=st.dictionaries(st.sampled_from(CAUSES), amounts, max_size=4),
    spent=st.dictionaries(st.sampled_from(SPENDS), st.integers(0, 10**9), max_size=3),
    call=st.none() | st.just("msg_1"),
    unknown=st.none() | st.just(Bounds()),
)


@given(st.lists(rows, max_size=20))
def test_whatever_rows_come_their_parts_sum_to_the_whole(given_rows: list[Row]) -> None:
    registry = CollectorRegistry()
    metrics = LedgerMetrics(registry)
    for row in given_rows:
        metrics.booked(row)

    def total(name: str) -> int:
        families = {family.name: family for family in registry.collect()}
        return sum(int(s.value) for s in families[name].samples if s.name.endswith("_total"))

    balance = total("cacheserver_saved_by_cause_nanodollars") - total(
        "cacheserver_lost_by_cause_nanodollars"
    )
    assert balance == sum(sum(row.saved.values()) for row in given_rows)
    assert total("cacheserver_spent_nanodollars") == sum(
        sum(row.spent.values()) for row in given_rows
    )
    answered = [row for row in given_rows if row.call is not None]
    assert total("cacheserver_model_calls") == len(answered)
    assert total("cacheserver_model_cost_nanodollars") == sum(row.cost or 0 for row in answered)


def test_models_are_so_many_and_none_is_lost() -> None:
    registry = CollectorRegistry()
    metrics = LedgerMetrics(registry)
    for number in range(200):
        metrics.booked(
            Row("d", 0.0, "t", "miss", "empty", "m", model=f"model-{number}", cost=1, call="c")
        )
    (family,) = (one for one in registry.collect() if one.name == "cacheserver_model_calls")
    calls = {s.labels["model"]: s.value for s in family.samples if s.name.endswith("_total")}
    assert len(calls) == 51
    assert calls["other"] == 150


def _nano(usd: str) -> int:
    return round(float(usd) * 1e9)
