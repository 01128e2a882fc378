"""An admin's price changes as rows of a price file, which another process reads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cacheserver.core.types import Usage
from cacheserver.pricing import price_changes
from cacheserver.pricing.price_table import load_overrides, written
from cacheserver.pricing.prices import Pricer

DAY_S = 86_400
NOW = datetime(2026, 11, 21, 15, tzinfo=UTC).timestamp()
MODEL, OTHER, OWN = "claude-haiku-5-5", "claude-opus-5-5", "house-model"
FILE = f"""
[[price]]
model = "{OWN}"
input = 3
output = 4.5
cache_write_5m = 1
cache_write_1h = 1
cache_read = 0.25
"""
USAGES = (
    Usage(1_000, 100),
    Usage(200_000, 10, cache_read_tokens=7),
    Usage(9, 9, speed="fast"),
    Usage(9, 9, service_tier="batch"),
)


def changed(text: str | None, given: dict[str, Any], at: float) -> Pricer:
    pricer = Pricer(None if text is None else load_overrides(text))
    pricer.use(price_changes.read(price_changes.merged({}, given, at)))
    return pricer


@pytest.mark.parametrize("usage", USAGES)
@pytest.mark.parametrize("model", [MODEL, OTHER, OWN])
def test_rows_price_as_the_changes_do_from_their_day_on(model: str, usage: Usage) -> None:
    given = {
        MODEL: {"input": "0.5", "long_prompts": {"150000": {"input": "0.75"}}},
        OTHER: {"fast": {"output": 77}},
        OWN: {"cache_read": 0},
    }
    pricer, before = changed(FILE, given, NOW - 2 * DAY_S), Pricer(load_overrides(FILE))
    read = Pricer(load_overrides(written(pricer.rows(NOW))))
    for at in (NOW, NOW - 2 * DAY_S):
        assert read.cost(model, usage, at) == pricer.cost(model, usage, at)
    earlier = NOW - 3 * DAY_S
    assert read.cost(model, usage, earlier) == before.cost(model, usage, earlier)


def test_without_changes_rows_are_those_of_the_file() -> None:
    assert written(Pricer().rows(NOW)) == ""
    table = load_overrides(FILE)
    assert load_overrides(written(Pricer(table).rows(NOW))) == table
