"""The checker lets a failover undo plain writes, and counts them; nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from scripts.chaos_run.checker import lost_at_failover
from scripts.chaos_run.history import Charge, Closed, Fault, History, Listing, Revoked, Turn
from tests.chaos.test_checker import (
    BATCH,
    FIRST,
    PURGE,
    QUESTION,
    SHOWN,
    hit,
    kinds,
    probe,
    put,
    row,
)

KILLED = Fault(101, 106, "kill-primary")
EARLIER = Fault(90, 95, "kill-primary")  # over before the write
AGAIN = put(120, refresh=True, reason="refresh")


def undone(history: History) -> Counter[str]:
    """Count what is excused by a fault after all writes; none is by one that came before."""
    assert kinds(history) != set()
    assert kinds(replace(history, faults=[EARLIER])) != set()
    assert lost_at_failover(replace(history, faults=[EARLIER])).total() == 0
    told = replace(history, faults=[KILLED])
    assert kinds(told) == set()
    return +lost_at_failover(told)


def test_an_answer_that_the_replica_lacked_is_counted_once() -> None:
    missed = [probe(107), probe(108)]
    assert undone(History(exchanges=[FIRST, *missed])) == {"answers": 1}


def test_a_batch_a_turn_and_a_row_are_counted() -> None:
    batch = replace(BATCH, start=100, end=101)
    gone = replace(SHOWN, start=107, end=107.1, id=batch.id, status=404, ended_at=None, items={})
    assert undone(History(batches=[batch], lookups=[gone])) == {"batches": 1}
    turns = [Turn(50, "one", "talk", QUESTION), Turn(101, "one", "talk", QUESTION)]
    listing = Listing(107, "one", "talk", (QUESTION,))
    assert undone(History(turns=turns, listings=[listing])) == {"turns": 1}
    assert undone(History(exchanges=[FIRST], rows=[], invoice=[Charge(100, "msg1", 700)])) == {
        "rows of the ledger": 1
    }


def test_what_was_replaced_may_be_back() -> None:
    history = History(exchanges=[FIRST, AGAIN, hit(130, FIRST)])
    assert kinds(history) == {"after-refresh"}
    assert kinds(replace(history, faults=[Fault(121, 125, "kill-behind")])) == set()
    assert kinds(replace(history, faults=[KILLED])) == {"after-refresh"}


def test_a_failover_that_is_over_excuses_no_later_loss() -> None:
    lost = History(exchanges=[FIRST, AGAIN, probe(130)], faults=[KILLED])
    assert kinds(lost) == {"lost"}
    before = History(exchanges=[FIRST, probe(101)], faults=[KILLED])  # it had not begun
    assert kinds(before) == {"lost"}


@pytest.mark.parametrize(
    ("kind", "event", "told"),
    [
        ("after-purge", hit(113, FIRST), {"removed": [PURGE]}),
        ("after-erase", hit(113, FIRST), {"removed": [replace(PURGE, kind="erase")]}),
        ("after-revocation", hit(113, FIRST), {"revoked": [Revoked(110, 110.2, "k1")]}),
        (
            "below-bar",
            hit(113, FIRST, outcome="semantic"),
            {"closed": [Closed(110.2, 200, "one", "default")]},
        ),
        ("foreign", hit(113, FIRST, tenant="two"), {}),
        ("after-deadline", hit(3_800, FIRST), {}),
    ],
)
@pytest.mark.parametrize("fault", ["kill-primary", "kill-behind", "stop-primary", "failover"])
def test_what_replicas_acknowledged_is_not_undone(
    kind: str, event: Any, told: dict[str, Any], fault: str
) -> None:
    history = History(exchanges=[FIRST, event], faults=[Fault(110.3, 113, fault)], **told)
    assert kinds(history) == {kind}


def test_no_money_is_counted_twice_by_a_failover() -> None:
    rows = [row(FIRST), row(FIRST, id="other")]
    history = History(
        exchanges=[FIRST], rows=rows, invoice=[Charge(100, "msg1", 700)], faults=[KILLED]
    )
    assert kinds(history) == {"ledger"}
    assert kinds(replace(history, rows=[row(FIRST), row(FIRST)])) == {"ledger"}
    assert kinds(replace(history, rows=[row(FIRST)], invoice=[])) == {"ledger"}


def test_spending_that_a_failover_made_the_store_forget_overruns_a_budget() -> None:
    rows = [row(FIRST, id=f"dec{n}", tenant="poor", claude_message_id=f"msg{n}") for n in range(5)]
    invoice = [Charge(100, f"msg{n}", 700) for n in range(5)]
    history = History(rows=rows, invoice=invoice, budgets={"poor": 2_000})
    assert kinds(history) == {"budget"}
    assert kinds(replace(history, faults=[KILLED])) == set()
    assert kinds(replace(history, faults=[EARLIER])) == {"budget"}
