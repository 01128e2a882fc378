"""Keys and bars."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos_run.history import History
from scripts.chaos_run.rules.violation import Limits, Violation, answer_violation


def keys(history: History, limits: Limits) -> Iterator[Violation]:
    """Check that requests without a valid key are refused, and all others admitted."""
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
            after = event.start - revoked.end
            yield answer_violation("after-revocation", event, f"let in {after:.3f} s after")


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
