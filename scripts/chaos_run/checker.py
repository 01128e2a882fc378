"""Rules that hold of a history, whatever went wrong while it was made.

A violation is certain: where an acknowledgement is missing or two things overlap, either is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from scripts.chaos_run.history import History
from scripts.chaos_run.rules import access, answers, growth, losses, money, removed
from scripts.chaos_run.rules.violation import Limits, Violation

RULES: tuple[Callable[[History, Limits], Iterator[Violation]], ...] = (
    *(answers.statuses, answers.in_time, answers.right_answers, answers.deadlines),
    *(answers.empty, answers.joined),
    *(removed.removals, removed.replaced, removed.results),
    *(losses.lost, losses.batches, losses.turns),
    *(access.keys, access.bars),
    *(money.ledger, money.budgets),
    growth.growth,
)


def check(history: History, limits: Limits) -> list[Violation]:
    """All violations, the earliest first."""
    found = [each for rule in RULES for each in rule(history, limits)]
    return sorted(found, key=lambda each: each.at)


def lost_at_failover(history: History) -> Counter[str]:
    """Count what a replica lacked that took over, by what it was: no violation."""
    return Counter(
        {
            "answers": len(losses.answers_undone(history)),
            "batches": len(losses.batches_undone(history)),
            "turns": len(losses.turns_undone(history)),
            "rows of the ledger": len(money.rows_undone(history)),
        }
    )


__all__ = ["RULES", "Limits", "Violation", "check", "lost_at_failover"]
