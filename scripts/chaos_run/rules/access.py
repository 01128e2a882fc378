"""Keys and bars."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos_run import schedule
from scripts.chaos_run.history import Exchange, History
from scripts.chaos_run.rules.violation import Limits, Violation, answer_violation

AWAY = (*schedule.LINES, "stop-others", "stop-server", *schedule.FAILOVERS)
BACK_S = 2.0  # after such a fault a server renews its lease, and reads keys anew


def keys(history: History, limits: Limits) -> Iterator[Violation]:
    """Check that requests without a valid key are refused, and all others admitted.

    A server that is cut off from the store asks Claude for a key that it knew. It serves no hit.
    """
    over = {revoked.key: revoked for revoked in history.revoked}
    for event in history.exchanges:
        revoked = over.get(event.key)
        if not event.key:
            if event.status is not None and event.status < 400:
                yield answer_violation("open", event, "let in without a key")
        elif revoked is None:
            if event.status == 401:
                yield answer_violation("key-refused", event, "a good key was refused")
        elif event.status is not None and event.status < 400 and event.start > revoked.end:
            if not event.hit and _cut_off(history, event, limits):
                continue
            after = event.start - revoked.end
            yield answer_violation("after-revocation", event, f"let in {after:.3f} s after")


def _cut_off(history: History, event: Exchange, limits: Limits) -> bool:
    return any(
        fault.kind in AWAY
        and fault.meets(event.server)
        and fault.overlaps(event.start - BACK_S * limits.scale, event.end)
        for fault in history.faults
    )


def bars(history: History, limits: Limits) -> Iterator[Violation]:
    """No semantic hit where only exact ones are allowed."""
    for event in history.exchanges:
        if event.outcome != "semantic":
            continue
        for closed in history.closed:
            if (
                (closed.tenant, closed.namespace) == (event.tenant, event.namespace)
                and closed.start < event.start
                and event.end < closed.end
            ):
                yield answer_violation(
                    "below-bar", event, "a semantic hit where `exact_only` holds"
                )
                break
