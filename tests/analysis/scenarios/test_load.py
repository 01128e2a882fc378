"""Scenario files: what is read, and what is refused with its line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from cacheserver.analysis.scenarios import load, shelf
from cacheserver.core.errors import SettingsError
from cacheserver.core.types import Usage
from cacheserver.pricing.prices import Pricer

PLAIN = """\
name = "plain"
about = "a plain one"
seed = 1
conversations = 10
days = 1

[[assumptions]]
what = "all"
value = "1"
source = "ours, because it is a test"

[[kinds]]
name = "one"
share = 0.5
model = "middle"
question = 20
output = { median = 100, p95 = 200 }
questions = ["What is a {}?"]

[[kinds]]
name = "two"
share = 0.5
model = { low = 0.7, high = 0.3 }
question = 20
output = 10
repeats = { exact = 0.2 }
questions = ["Where is a {}?"]
"""


def test_what_is_stated_is_read_and_the_rest_has_defaults() -> None:
    made = load.load(PLAIN)
    assert [kind.name for kind in made.kinds] == ["one", "two"]
    assert made.kinds[1].model == {"low": 0.7, "high": 0.3}
    assert (made.kinds[1].output.median, made.kinds[1].output.p95) == (10, 10)
    assert made.kinds[0].repeats.exact == 0
    assert made.levers == {"exact", "semantic", "routing", "prompt-caching", "batch"}


@pytest.mark.parametrize(
    ("was", "now", "line", "key"),
    [
        ("seed = 1", "sead = 1", 1, "seed"),
        ("days = 1", "days = 1\nhours = 2", 6, "hours"),
        ("days = 1", "days = -1", 5, "days"),
        ("days = 1", 'days = 1\nlevers = ["magic"]', 6, "levers[0]"),
        ("exact = 0.2", "exact = -0.2", 26, "kinds[1].repeats.exact"),
        ("exact = 0.2", "exakt = 0.2", 26, "kinds[1].repeats.exakt"),
        ("exact = 0.2", "exact = 0.7, reworded = 0.4", 26, "kinds[1].repeats.reworded"),
        ("p95 = 200", "p95 = 20", 17, "kinds[0].output.p95"),
        ("low = 0.7", "low = 0.8", 23, "kinds[1].model"),
        ('model = "middle"', 'model = "gpt"', 15, "kinds[0].model"),
        ('"two"\nshare = 0.5', '"two"\nshare = 0.4', 12, "kinds"),
        ('name = "two"', 'name = "one"', 21, "kinds[1].name"),
        ('["Where is a {}?"]', '["Where?"]', 27, "kinds[1].questions"),
        ('source = "ours', 'sauce = "ours', 7, "assumptions[0].source"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line_and_key(
    was: str, now: str, line: int, key: str
) -> None:
    assert was in PLAIN
    with pytest.raises(SettingsError) as refused:
        load.load(PLAIN.replace(was, now), "plain.toml")
    assert str(refused.value).startswith(f"plain.toml: line {line}: `{key}` ")


def test_what_is_not_toml_is_refused() -> None:
    with pytest.raises(SettingsError, match="is not TOML"):
        load.load("name = ")


@pytest.mark.parametrize("name", shelf.names())
def test_shipped_scenarios_are_valid_and_state_their_sources(name: str) -> None:
    made = shelf.scenario(name)
    assert made.name == name
    assert made.assumptions
    for stated in made.assumptions:
        assert "requirement" not in stated.source


def test_there_are_the_seeds_scenarios() -> None:
    assert shelf.names() == [
        "b2b-audit",
        "code-review",
        "document-pipeline",
        "routing-mix-30-40-30",
        "routing-mix-50-30-20",
        "routing-mix-70-20-10",
        "support-chatbot",
    ]


@pytest.mark.parametrize(
    ("model", "dollars"),
    # 1M of input, output, a write for 5 minutes, one for an hour, a read
    [
        ("claude-haiku-4-5", 0.80 + 4 + 1.0 + 1.6 + 0.08),
        ("claude-sonnet-4-6", 3 + 15 + 3.75 + 6 + 0.30),
        ("claude-opus-4-7", 15 + 75 + 18.75 + 30 + 1.5),
    ],
)
@pytest.mark.parametrize(("tier", "share"), [("standard", 1.0), ("batch", 0.5)])
def test_the_seeds_prices_are_as_they_state_them(
    model: str, dollars: float, tier: str, share: float
) -> None:
    million = 1_000_000
    usage = Usage(
        input_tokens=million,
        output_tokens=million,
        cache_write_5m_tokens=million,
        cache_write_1h_tokens=million,
        cache_read_tokens=million,
        service_tier=tier,
    )
    cost = Pricer(shelf.prices("seeds").table).cost(model, usage, 0.0)
    assert cost == round(dollars * share * 1e9)


def test_a_file_that_is_not_there_is_refused_with_what_there_is() -> None:
    with pytest.raises(SettingsError, match="support-chatbot"):
        shelf.scenario("no-such-scenario")


def test_the_example_in_the_documentation_can_be_read() -> None:
    page = (Path(__file__).parents[3] / "docs/scenarios.md").read_text()
    example = page.split("```toml\n")[1].split("```")[0]
    assert load.load(example).name == "help-desk"
