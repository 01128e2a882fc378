"""Faults and their times, drawn from a seed. The same seed draws the same."""

from __future__ import annotations

import random
from dataclasses import dataclass

# One after the other, with a quiet moment in between in which what must be stored is looked for.
HARD = (
    *("kill-server", "kill-store", "stop-server", "stop-store", "slow-disk", "full-disk"),
    *("kill-slow", "restart", "zero-tail", "torn-tail", "damaged-snapshot", "lost-snapshot"),
)
PARTITION = "partition"  # the network between one server and the store is cut
# Where several servers share a store. The lines are those to the store: of one server, but for
# `drop-lines`, which ends the connections of all.
LINES = (
    *("cut-line", "hold-line", "deaf-line", "mute-line", "slow-line", "drop-lines"),
    *("stop-and-cut", "lapse-line", PARTITION),
)
SEVERAL = (*LINES, "stop-others")
# Of the primary that has the servers' keys, where their store is a cluster.
PRIMARY = ("kill-primary", "stop-primary", "cut-primary", "hand-over", "kill-behind")
# What a replica may have taken over in: it lacks what the primary had just been told.
FAILOVERS = (*PRIMARY, "failover")
# At any time beside them.
UPSTREAM = (
    *("kill-upstream", "stop-upstream", "refuse", "cut", "slow", "hang"),
    *("429", "429-long", "529", "500", "503"),
)
NEEDS_SHIM = frozenset({"slow-disk", "full-disk", "kill-slow"})
SINGLE_STORE = frozenset({"kill-store", "stop-store"})
EMBEDDED_ONLY = frozenset({"zero-tail", "torn-tail", "slow-disk", "full-disk", "kill-slow"})
# Longer than any request may wait for it, so that one that does is late.
STORE_HANGS_S = 8.0
LAPSES_S = 1.5  # longer than a lease, shorter than connections wait for a reply
FAILS_OVER_S = 4.0  # a primary that stands still for so long is replaced


@dataclass(frozen=True, slots=True)
class Planned:
    """`wait_s` after the one before has ended, for `for_s`; `share` of connections it meets."""

    kind: str
    wait_s: float
    for_s: float
    share: float = 1.0


def hard(seed: int, kinds: tuple[str, ...] = HARD) -> list[Planned]:
    """Every kind once in a random order, then again; enough for an hour."""
    draw = random.Random(f"hard {seed}")
    planned: list[Planned] = []
    while len(planned) < 600:
        for kind in draw.sample(kinds, len(kinds)):
            for_s = STORE_HANGS_S if kind == "stop-store" else draw.uniform(0.5, 3.0)
            if kind == "stop-primary" and draw.random() < 0.7:  # else it comes back as one
                for_s += FAILS_OVER_S
            planned.append(Planned(kind, draw.uniform(0.5, 2.5), for_s))
    return planned


def upstream(seed: int, kinds: tuple[str, ...] = UPSTREAM) -> list[Planned]:
    """Likewise of what happens between the server and Claude."""
    draw = random.Random(f"upstream {seed}")
    planned: list[Planned] = []
    while len(planned) < 1_200:
        for kind in draw.sample(kinds, len(kinds)):
            share = draw.choice((0.3, 0.3, 1.0))
            planned.append(Planned(kind, draw.uniform(0.5, 3.0), draw.uniform(0.5, 2.5), share))
    return planned
