"""The decision matrices, row by row: what the planner picks, and how a preset is applied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cacheserver import cli
from cacheserver.analysis.scenarios.presets import (
    Pick,
    Preset,
    Rules,
    named,
    plan,
    presets,
    request_fields,
    tenant_rules,
)
from cacheserver.analysis.scenarios.presets_report import shown
from cacheserver.core.rules.lengths import LengthRules
from cacheserver.core.rules.routing import RoutingRules, Tiers
from cacheserver.pricing.prices import Pricer
from tests.house import ADMIN_KEY, House
from tests.models import ROOT

NOW = 1_795_000_000.0  # November 2026
PRICER = Pricer()

# Preset -> tier, batch, lifetime of the prompt cache; max_tokens without room for thinking.
PICKED = {
    "real-time-chat": (Pick("middle", False, "5m"), 1_024),
    "bulk-classification": (Pick("low", True), 10),
    "deep-reasoning": (Pick("high", False), 1_024),
    "overnight-etl": (Pick("low", True), 1_024),
    "api-gateway": (Pick("middle", False, "5m"), 1_024),
    "chat-interface": (Pick("middle", False, "1h"), 1_024),
    "nightly-summaries": (Pick("middle", True), 150),
    "json-extraction": (Pick("low", False, "5m"), 1_024),
    "complex-reasoning": (Pick("high", False), 1_024),
    "code-review": (Pick("middle", False, "1h"), 1_024),
}
DIFFERS = {"overnight-etl", "chat-interface", "code-review"}


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_each_row_is_picked_as_the_docs_say(preset: Preset) -> None:
    bare = Rules(lengths=LengthRules(thinking_room=0))
    chosen = plan(preset, PRICER.cost, NOW, bare)
    assert (chosen.pick, chosen.max_tokens) == PICKED[preset.name]
    assert (chosen.pick != preset.matrix) == (preset.name in DIFFERS)


def test_the_ten_rows_are_all_there_and_the_page_has_each() -> None:
    assert len({preset.name for preset in presets()}) == len(presets()) == 10
    page = (ROOT / "docs/routing.md").read_text()
    for preset in presets():
        chosen = plan(preset, PRICER.cost, NOW)
        row = next(line for line in page.splitlines() if line.startswith(f"| `{preset.name}` |"))
        assert shown(chosen.pick) in row
        assert preset.row in row


def test_a_preset_follows_what_the_operator_sets() -> None:
    old = Rules(RoutingRules(tiers=Tiers(middle="claude-sonnet-4-6")))
    chat = named("real-time-chat")
    assert plan(chat, PRICER.cost, NOW, old).model == "claude-sonnet-4-6"


def test_a_model_without_a_price_is_not_marked() -> None:
    unknown = Rules(RoutingRules(tiers=Tiers(middle="claude-tern-7")))
    chat = named("real-time-chat")
    assert plan(chat, PRICER.cost, NOW, unknown).pick.caching is None


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
async def test_a_preset_that_is_applied_is_answered_as_planned(
    tmp_path: Path, preset: Preset
) -> None:
    chosen = plan(preset, PRICER.cost, NOW)
    async with House.open(tmp_path, upstream="simulated") as house:
        key = await house.key("acme")
        admin, mine = {"authorization": f"Bearer {ADMIN_KEY}"}, {"x-api-key": key}
        put = await house.http.put(
            "/admin/v1/tenants/acme", json=tenant_rules(preset), headers=admin
        )
        assert put.status_code == 200, put.text
        path = "/v1/jobs" if preset.patience_s else "/v1/query"
        asked = {"prompt": "What is on the page?", **request_fields(preset)}
        answer = await house.http.post(path, json=asked, headers=mine)
        if preset.patience_s:
            assert answer.status_code == 202, answer.text
            assert answer.json()["status"] == "in_progress"
        elif preset.task is not None:
            assert answer.json()["model"] == chosen.model
        else:
            assert answer.status_code == 200, answer.text


def test_the_command_lists_the_ten_and_shows_how_to_apply_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["presets"]) == 0
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()[1:11]] == [p.name for p in presets()]
    assert cli.main(["presets", "nightly-summaries"]) == 0
    told = capsys.readouterr().out
    assert json.dumps(tenant_rules(named("nightly-summaries"))) in told
    assert json.dumps(request_fields(named("nightly-summaries"))) in told
    assert cli.main(["presets", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found] == [p.name for p in presets()]
    assert found[1]["picked"]["pick"] == {"tier": "low", "batch": True, "caching": None}


def test_a_name_that_is_no_presets_is_one_line_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["presets", "nightly"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("cacheserver: `nightly` is no preset; there are real-time-chat, ")
    assert error.count("\n") == 1
