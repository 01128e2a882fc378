"""Report of a run, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from scripts.chaos_run import schedule
from scripts.chaos_run.run import Outcome

_SHOWN = 10  # violations of one kind


def lines(outcome: Outcome) -> Iterator[str]:
    history = outcome.history
    asked = [event for event in history.exchanges if not event.probe]
    outcomes = Counter(
        event.outcome or "no outcome" if event.status is not None else "no answer"
        for event in asked
    )
    yield (
        f"seed {outcome.seed}, {outcome.seconds:.0f} s, servers {outcome.servers}, "
        f"limits x {outcome.scale:.1f}: "
        f"{len(asked)} questions, {len(history.called)} other requests, "
        f"{sum(event.stored for event in asked)} acknowledged, {outcome.probes} looked for, "
        f"{sum(removed.acknowledged for removed in history.removed)} removals, "
        f"{len(history.invoice)} charges, {len(history.rows or ())} rows"
    )
    yield "answers: " + _counts(outcomes)
    statuses = Counter(event.status for event in asked if event.status not in (None, 200))
    yield "statuses but 200: " + _counts(statuses)
    yield "faults: " + _counts(outcome.met)
    if outcome.batches:
        yield "batches: " + _counts(outcome.batches)
    if any(fault.kind in schedule.FAILOVERS for fault in history.faults):
        names = ("answers", "batches", "turns", "rows of the ledger")
        yield "lost at a failover: " + ", ".join(f"{name} {outcome.lost[name]}" for name in names)
    for kind, why in outcome.skipped.items():
        yield f"skipped {kind}: {why}"
    found = Counter(violation.kind for violation in outcome.violations)
    for kind, count in found.most_common():
        yield f"VIOLATION {kind}: {count}"
        for violation in [v for v in outcome.violations if v.kind == kind][:_SHOWN]:
            at = datetime.fromtimestamp(violation.at, UTC).strftime("%H:%M:%S.%f")[:-3]
            ids = f" [{' '.join(violation.ids)}]" if violation.ids else ""
            faults = ", ".join(
                sorted(
                    {f.kind for f in history.faults if f.overlaps(violation.at - 3, violation.at)}
                )
            )
            during = f" (after {faults})" if faults else ""
            yield f"  {at} {violation.what}{ids}{during}"
    yield f"{sum(found.values())} violations" if found else "no violation"


def _counts(counted: Mapping[Any, int]) -> str:
    return ", ".join(f"{what} {count}" for what, count in Counter(counted).most_common()) or "none"
