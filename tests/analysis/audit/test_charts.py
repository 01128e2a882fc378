"""What the charts of an audit draw, and that it is what the numbers say."""

from __future__ import annotations

import re
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.analysis.audit.days import bars
from cacheserver.analysis.audit.output import charts
from cacheserver.analysis.audit.tally import OTHER
from cacheserver.analysis.replay.step import LEVERS

amounts = st.integers(-500, 500).map(lambda cents: cents / 100)
rows = st.dictionaries(
    st.dates(date(2020, 1, 1), date(2026, 12, 31)),
    st.tuples(st.floats(0, 1_000), st.dictionaries(st.sampled_from(LEVERS), amounts)),
    max_size=60,
)


def day(at: date | str, left: float, saved: dict[str, float]) -> dict[str, Any]:
    """As `by_day` has it."""
    spent = left + sum(saved.values())
    told = {lever: f"{usd:.9f}" for lever, usd in saved.items()}
    return {"name": str(at), "spent_usd": f"{spent:.9f}", "saved_by_usd": told}


def rects(svg: str, kind: str) -> list[tuple[float, float, float, float]]:
    """x, y, width and height of what is drawn in a colour."""
    found = re.findall(
        rf'<rect class="{kind}" x="([^"]*)" y="([^"]*)" width="([^"]*)" height="([^"]*)"', svg
    )
    return [(float(x), float(y), float(w), float(h)) for x, y, w, h in found]


@given(rows)
def test_bars_follow_on_one_another_and_hold_every_day(
    found: dict[date, tuple[float, dict[str, float]]],
) -> None:
    made = bars([day(at, left, saved) for at, (left, saved) in found.items()])
    assert len(made) <= 92
    if not found:
        assert made == []
        return
    assert (made[0].first, made[-1].last) == (min(found), max(found))
    for one, other in pairwise(made):
        assert other.first == one.last + timedelta(days=1)
    for bar in made:
        within = [found[at] for at in sorted(found) if bar.first <= at <= bar.last]
        left = sum(left for left, _ in within)
        saved = sum(sum(parts.values()) for _, parts in within)
        assert bar.spent == pytest.approx(left + saved, abs=1e-6)
        assert dict(bar.parts)["left"] == pytest.approx(left, abs=1e-6)


def test_days_without_requests_have_their_place_and_other_has_none() -> None:
    found = [day("2026-11-01", 1.0, {}), day("2026-11-28", 1.0, {}), day(OTHER, 9.0, {})]
    assert [bar.spent for bar in bars(found)] == [1.0, *[0.0] * 26, 1.0]
    svg = "".join(charts.by_day(found))
    assert [x for x, *_ in rects(svg, "left")] == [0.06, 27.06]


def test_a_bar_is_what_was_spent_and_passes_it_by_what_a_lever_would_have_cost() -> None:
    saving = day("2026-11-01", 6.0, {"exact": 4.0})
    costing = day("2026-11-02", 8.0, {"exact": 3.0, "prompt-caching": -1.0})  # 10 spent
    svg = "".join(charts.by_day([saving, costing]))
    (_, _, _, left), (_, _, _, more) = rects(svg, "left")
    assert (left, more) == pytest.approx((600 / 11, 800 / 11), abs=0.01)
    assert [high for *_, high in rects(svg, "exact")] == pytest.approx([400 / 11, 300 / 11], 0.01)
    assert "what a lever would have cost" in svg
    assert "what a lever would have cost" not in "".join(charts.by_day([saving]))


@pytest.mark.parametrize("which", ["alone", "together"])
def test_an_interval_is_drawn_on_the_bar_that_it_is_of(which: str) -> None:
    one = {"alone_usd": "10", "together_usd": "4", f"{which}_95_usd": ["2", "6"]}
    svg = charts.lever("routing", "routing", one, *charts.scale([one]))
    assert re.findall(r'<path class="whisker (\w+)"', svg) == [which]
    middle = {"alone": 7.0, "together": 17.5}[which]
    assert f'd="M20.000 {middle}H60.000"' in svg


def test_a_negative_lever_goes_to_the_left_of_nothing() -> None:
    levers = [{"alone_usd": "-1", "together_usd": "0"}, {"alone_usd": "3", "together_usd": "3"}]
    low, high = charts.scale(levers)
    assert (low, high) == (-1.0, 3.0)
    svg = charts.lever("batches", "batch", levers[0], low, high)
    assert rects(svg, "batch alone") == [(0.0, 2.0, 25.0, 10.0)]
    assert charts.lever("batches", "batch", {"alone_usd": "0", "together_usd": "0"}, 0.0, 0.0) == ""
