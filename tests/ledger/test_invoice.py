"""The simulated Claude keeps its own books, with a price table that shares nothing with ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cacheserver.config.settings import Settings
from tests.ledger.invoice import Both, agree, both
from tests.ledger.traffic import KINDS

_BEHIND = {"audit", "classifier", "prewarm", "trial", "retry", "summary"}


@pytest.mark.parametrize("requests", [600, pytest.param(20_000, marks=pytest.mark.slow)])
async def test_the_ledger_and_claudes_own_invoice_agree(tmp_path: Path, requests: int) -> None:
    taken = await both(tmp_path, requests)
    every_request_has_its_row(taken, requests)
    assert {row.reason for row in taken.rows if row.outcome == "background"} >= _BEHIND
    agree(taken)

    # A row too few, a nanodollar too much, a charge that no row accounts for: all are seen.
    paid = next(row for row in taken.rows if row.cost and row.unknown is None)
    others = [row for row in taken.rows if row is not paid]
    for wrong in (
        replace(taken, rows=others),
        replace(taken, rows=[*taken.rows, replace(paid, id="dec_twice")]),
        replace(taken, rows=[*others, replace(paid, cost=(paid.cost or 0) + 1)]),
        replace(taken, invoice=[*taken.invoice, replace(taken.invoice[0], message_id="msg_new")]),
    ):
        with pytest.raises(AssertionError):
            agree(wrong)


async def test_they_agree_where_nobody_waits_long_for_the_store(tmp_path: Path) -> None:
    """The wait of a server: on a busy machine much is answered as degraded."""
    taken = await both(tmp_path, 500, store_wait_s=Settings.model_fields["store_wait_s"].default)
    every_request_has_its_row(taken, 500)
    agree(taken)


def every_request_has_its_row(taken: Both, requests: int) -> None:
    answered = [row for row in taken.rows if row.outcome != "background"]
    assert len(answered) + taken.unread == requests


def test_the_traffic_is_mixed() -> None:
    assert len(KINDS) > 30
