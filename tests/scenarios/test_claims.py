"""The claims: the page is the command's, and the arithmetic is right where done by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver import cli
from cacheserver.scenarios import claims, claims_workloads, shelf, sums
from cacheserver.scenarios.claim import num, percent, usd
from cacheserver.scenarios.sums import PerMillion, Tokens

SONNET = PerMillion(Decimal(3), Decimal(15), Decimal("3.75"), Decimal(6), Decimal("0.3"))
HAIKU = PerMillion(Decimal("0.8"), Decimal(4), Decimal(1), Decimal("1.6"), Decimal("0.08"))


def test_the_page_is_made_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["simulate", "--claims"]) == 0
    page = Path(__file__).parents[2] / "docs/claims.md"
    made = capsys.readouterr().out
    assert page.read_text() == made, "cacheserver simulate --claims > docs/claims.md"


def test_the_seeds_rates_are_read_by_tier_and_halved_in_batches() -> None:
    prices, day = shelf.prices("seeds"), date(2026, 11, 2)
    assert sums.at(prices, day)["middle"] == SONNET
    assert sums.at(prices, day)["low"] == HAIKU
    batch = sums.at(prices, day, batch=True)["middle"]
    assert (batch.input, batch.output) == (Decimal("1.5"), Decimal("7.5"))


def test_a_request_costs_what_its_tokens_do() -> None:
    # 500 x 3 + 2,500 x 0.3 + 600 x 15 = 1,500 + 750 + 9,000 millionths
    assert sums.cost(SONNET, Tokens(500, 600, 2_500)) == Decimal("0.01125")
    shares = {"low": Decimal("0.7"), "middle": Decimal("0.3")}
    # 0.7 x 0.003 + 0.3 x 0.01125
    mixed = sums.mixed({"low": HAIKU, "middle": SONNET}, shares, Tokens(500, 600, 2_500))
    assert mixed == Decimal("0.005475")


def test_a_prefix_is_written_once_and_read_after() -> None:
    # 4,000 x 3.75 + 999 x 4,000 x 0.3 = 15,000 + 1,198,800 millionths
    assert sums.cached(SONNET, 4_000, 1_000) == Decimal("1.2138")


def test_break_even_is_where_both_ways_cost_the_same() -> None:
    assert num(sums.reads_per_write(SONNET), 3) == "0.278"  # 0.75 / 2.7
    assert num(sums.reads_per_write(SONNET, hour=True)) == "1.11"  # 3 / 2.7


@given(
    dear=st.decimals(2, 100, places=2),
    cheap=st.decimals("0.01", 1, places=2),
    saving=st.decimals("0.01", "0.4", places=2),
)
def test_the_share_moved_makes_the_saving(dear: Decimal, cheap: Decimal, saving: Decimal) -> None:
    moved = sums.share_moved(saving, dear, cheap)
    after = (1 - moved) * dear + moved * cheap
    assert abs(sums.saved(dear, after) - saving) < Decimal("1e-20")


@pytest.mark.parametrize(
    ("shares", "seeds", "today"),
    # 1 - (0.7 x 0.8 + 0.2 x 3 + 0.1 x 15) / 15 = 1 - 2.66 / 15, and so on; today's 0.1, 2, 4: 21.7%
    [
        ((70, 20, 10), "82.3%", "78.3%"),
        ((50, 30, 20), "71.3%", "63.8%"),
        ((30, 40, 30), "60.4%", "49.3%"),
    ],
)
def test_mixes_save_by_their_shares(shares: tuple[int, int, int], seeds: str, today: str) -> None:
    held = claims.books()
    assert percent(claims_workloads.mix_saves(held, shares), 1) == seeds
    assert percent(claims_workloads.mix_saves(held, shares, today=True), 1) == today


def test_the_bills_of_two_mixes_leave_haiku_less_than_nothing() -> None:
    # (0.064 x 0.3 - 0.101333 x 0.2) / (0.7 x 0.3 - 0.5 x 0.2)
    assert percent(claims_workloads.implied_haiku(), 1) == "-1.0%"


def test_the_chatbot_comes_to_what_is_reckoned_by_hand() -> None:
    cached, hits = claims_workloads.support(claims.books(), 2_500, Tokens(3_000, 600))
    assert (usd(cached), usd(hits)) == ("$1,095", "$821.25")


def test_every_claim_has_a_verdict_with_its_reason() -> None:
    rows = claims.rows()
    assert len(rows) >= 25
    for row in rows:
        assert row.why
        assert (row.verdict == "holds if") == bool(row.provided), row.claimed


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("$3,600 -> $420", "holds if"),
        ("$4,500 -> $900", "does not hold"),
        ("$5,400 -> $810", "does not hold"),
        ("$4,200 -> $1,540", "holds if"),
        ("Sonnet in batches", "does not hold"),
        ("Batches cost half", "holds"),
    ],
)
def test_verdicts_on_the_large_claims(said: str, verdict: str) -> None:
    (row,) = [row for row in claims.rows() if said in row.claimed]
    assert row.verdict == verdict
