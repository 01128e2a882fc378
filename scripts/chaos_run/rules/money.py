"""The ledger against the simulated Claude's invoice, and against what callers were told."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scripts.chaos_run import schedule
from scripts.chaos_run.history import MOST_TOKENS, Charge, Exchange, History
from scripts.chaos_run.rules.failovers import may_undo
from scripts.chaos_run.rules.violation import Limits, Violation

# From a request to the last of its charges, and from a charge to its row: three tries, the waits
# between them and for a slot, and a store that hangs for 8 s. A kill within it leaves no row.
LONGEST_CALL_S = 30.0
TRY_NANODOLLARS = MOST_TOKENS * 500  # what one try may cost, its question not counted
FORGET = ("kill-upstream", *schedule.FAILOVERS)
KILLS = ("kill-server", "end")
AWAY = (
    *("kill-store", "kill-slow", "stop-store", "slow-disk", "full-disk", "restart", "kill-server"),
    *schedule.LINES,
    *schedule.FAILOVERS,
)


def ledger(history: History, limits: Limits) -> Iterator[Violation]:
    """The ledger and Claude's invoice agree, and each answer has its row."""
    for at, what, ids in _differences(history):
        yield Violation("ledger", at, what, ids)


def budgets(history: History, limits: Limits) -> Iterator[Violation]:
    """Nobody spends more than their budget and the one request that was let in last.

    Two, for the prompt of each is estimated when it is let in. What a failover undid is left
    out.
    """
    for tenant, limit in history.budgets.items():
        rows = [row for row in history.rows or () if row["tenant"] == tenant]
        paid = [_paid(row) for row in rows if not may_undo(history, _at(row), _at(row))]
        if sum(paid) > limit + 2 * max(paid, default=0):
            what = f"{tenant} spent {sum(paid)} nanodollars of {limit} in {len(paid)} requests"
            yield Violation("budget", 0.0, what)


def _at(row: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(row["at"]).timestamp()


def _paid(row: Mapping[str, Any]) -> int:
    return int(row["cost_nanodollars"] or 0) + int(row["spent_nanodollars"])


def _differences(history: History) -> Iterator[tuple[float, str, tuple[str, ...]]]:
    """Time, sentence and ids of each amount that is not accounted for."""
    rows, lines = history.rows, {line.message_id: line for line in history.invoice}
    if rows is None:
        return
    known: dict[str, int] = {}
    ids = Counter(str(row["id"]) for row in rows)
    for id, count in ids.items():
        if count > 1:
            yield 0.0, f"{count} rows have one id", (id,)
    for row in rows:
        if (call := row["claude_message_id"]) is None:
            continue
        paid = _paid(row)
        if call in known:
            yield 0.0, "a call was booked twice", (str(row["id"]), call)
        known[call] = paid
        line = lines.get(call)
        if paid and line is None:
            yield 0.0, f"{paid} nanodollars are booked that nobody charged", (str(row["id"]), call)
        elif line is not None and line.nanodollars != paid:
            what = f"{paid} nanodollars are booked, {line.nanodollars} were charged"
            yield line.at, what, (str(row["id"]), call)
    doubts = [_Doubt.of(row) for row in rows if row["unknown_least_nanodollars"] is not None]
    doubts.sort(key=lambda doubt: doubt.at)  # the one that is over first is used first
    for line in sorted(history.invoice, key=lambda line: line.at):
        if line.message_id in known or _excused(history, line):
            continue
        if any(doubt.takes(line) for doubt in doubts):
            continue
        what = f"{line.nanodollars} nanodollars were charged that no row accounts for"
        yield line.at, what, (line.message_id,)
    yield from _answers_without_rows(history)


@dataclass(slots=True)
class _Doubt:
    """A row of tries that lost their answers: its bounds are of all of them together."""

    at: float
    model: str
    left: float
    tries: float

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _Doubt:
        most = row["unknown_most_nanodollars"]
        at = _at(row)
        model = row["model"] or row["model_asked"]  # none where no answer came
        if most is None:
            return cls(at, model, math.inf, math.inf)
        return cls(at, model, most, max(1, round(most / TRY_NANODOLLARS)))

    def takes(self, line: Charge) -> bool:
        """Return whether a charge may be of one of the tries, and count it as that."""
        near = line.model == self.model and abs(line.at - self.at) < LONGEST_CALL_S
        if not near or self.tries < 1 or line.nanodollars > self.left:
            return False
        self.tries -= 1
        self.left -= line.nanodollars
        return True


def _excused(history: History, line: Charge) -> bool:
    """Return whether nobody can have booked a call.

    The server was killed while it was under way, Claude forgot a batch, a batch has not ended, or a
    replica took over that lacks the row or the batch.
    """
    last = {look.id: look for look in sorted(history.lookups, key=lambda look: look.end)}
    open_ones = {id for id, look in last.items() if look.status != 404 and look.ended_at is None}
    return (
        any(
            (fault.kind in KILLS and fault.overlaps(line.at, line.at + LONGEST_CALL_S))
            or (line.batched and fault.kind in FORGET and fault.end > line.at)
            for fault in history.faults
        )
        or may_undo(history, line.at, line.at + LONGEST_CALL_S)
        or any(
            line.batched and batch.start <= line.at and batch.id in open_ones
            for batch in history.batches
        )
    )


def rows_undone(history: History) -> set[str]:
    """Return the decisions whose rows were lost as a replica took over."""
    return {event.decision or "" for event in _without_rows(history) if _row_undone(history, event)}


def _row_undone(history: History, event: Exchange) -> bool:
    return may_undo(history, event.start, event.end)


def _answers_without_rows(history: History) -> Iterator[tuple[float, str, tuple[str, ...]]]:
    """A row is in the store before the answer's last byte, unless the store is away meanwhile."""
    for event in _without_rows(history):
        away = any(
            fault.kind in AWAY
            and fault.meets(event.server)
            and fault.overlaps(event.start - 1, event.end + 1)
            for fault in history.faults
        )
        killed = any(
            fault.kind in KILLS and fault.meets(event.server) and fault.start >= event.start
            for fault in history.faults
        )
        if (away and killed) or _row_undone(history, event):
            continue
        what = f"{event.tenant} {event.outcome}: the answer has no row in the ledger"
        yield event.start, what, (event.decision or "",)


def _without_rows(history: History) -> Iterator[Exchange]:
    """Find answers whose decision is in no row, if the ledger was read."""
    if history.rows is None:
        return
    ids = {str(row["id"]) for row in history.rows}
    for event in history.exchanges:
        if event.status == 200 and event.decision is not None and event.decision not in ids:
            yield event
