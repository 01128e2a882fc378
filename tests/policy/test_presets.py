"""The seeds' decision matrices, row by row: what the planner picks, and where it differs."""

from __future__ import annotations

import pytest

from cacheserver.policy.money import Pricer
from cacheserver.policy.presets import PRESETS, Pick, Preset, Rules, plan
from cacheserver.rules.lengths import LengthRules
from cacheserver.rules.routing import RoutingRules, Tiers
from tests.models import ROOT

NOW = 1_795_000_000.0  # November 2026
PRICER = Pricer()

# Preset -> tier, lifetime of the prompt cache, batch, max_tokens without room for thinking.
PICKED = {
    "real-time-chat": (Pick("middle", "5m", False), 1_024),
    "bulk-classification": (Pick("low", None, True), 10),
    "deep-reasoning": (Pick("high", None, False), 1_024),
    "overnight-etl": (Pick("low", None, True), 1_024),
    "api-gateway": (Pick("middle", "5m", False), 1_024),
    "chat-interface": (Pick("middle", "1h", False), 1_024),
    "nightly-summaries": (Pick("middle", None, True), 150),
    "json-extraction": (Pick("low", "5m", False), 1_024),
    "complex-reasoning": (Pick("high", None, False), 1_024),
    "code-review": (Pick("middle", "1h", False), 1_024),
}
DIFFERS = {"overnight-etl", "chat-interface", "code-review"}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_each_row_is_picked_as_the_docs_say(preset: Preset) -> None:
    bare = Rules(lengths=LengthRules(thinking_room=0))
    chosen = plan(preset, PRICER.cost, NOW, bare)
    assert (chosen.pick, chosen.max_tokens) == PICKED[preset.name]
    assert (chosen.pick != preset.seeds) == (preset.name in DIFFERS)


def test_the_ten_rows_are_all_there_and_the_page_has_each() -> None:
    assert len({preset.name for preset in PRESETS}) == len(PRESETS) == 10
    page = (ROOT / "docs/routing.md").read_text()
    for preset in PRESETS:
        chosen = plan(preset, PRICER.cost, NOW)
        pick = chosen.pick
        way = f"{pick.tier}, {pick.caching or 'no marks'}, {'batch' if pick.batch else 'at once'}"
        row = next(line for line in page.splitlines() if line.startswith(f"| `{preset.name}` |"))
        assert way in row
        assert preset.scenario in row


def test_a_preset_follows_what_the_operator_sets() -> None:
    old = Rules(RoutingRules(tiers=Tiers(middle="claude-sonnet-4-6")))
    chat = next(preset for preset in PRESETS if preset.name == "real-time-chat")
    assert plan(chat, PRICER.cost, NOW, old).model == "claude-sonnet-4-6"


def test_a_model_without_a_price_is_not_marked() -> None:
    unknown = Rules(RoutingRules(tiers=Tiers(middle="claude-tern-7")))
    chat = next(preset for preset in PRESETS if preset.name == "real-time-chat")
    assert plan(chat, PRICER.cost, NOW, unknown).pick.caching is None
