"""A violation, and the limits that make one."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.chaos_run.history import Exchange

# After the store was emptied behind the servers: nobody tells them, they look every few seconds.
SETTLED_S = 6.0
SLACK_S = 1.0  # between clocks of processes of one machine, and for rounding to whole seconds


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be."""

    kind: str
    at: float
    what: str
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """`scale` is how much slower this machine is than the limits were made for, 1 or more."""

    scale: float = 1.0
    rss_growth: int = 64 * 2**20  # bytes a minute within one life, after the first moment
    # More than at the first moment that is warm. Each caller and each call that hangs has a few.
    descriptors: int = 48
    tasks: int = 48


def answer_violation(kind: str, event: Exchange, what: str) -> Violation:
    """A violation that a request for an answer shows."""
    who = f"{event.tenant}/{event.namespace} {event.question!r}"
    if event.server:
        who += f" at server {event.server}"
    ids = tuple(id for id in (event.request_id, event.decision, event.entry) if id)
    return Violation(kind, event.start, f"{who}: {what}", ids)
