"""Plain writes of the moment before a failover, which a replica that takes over may lack.

Removals, revocations and bars are none of them: they are acknowledged once a replica has them.
"""

from __future__ import annotations

import math

from scripts.chaos_run import schedule
from scripts.chaos_run.history import History

LAG_S = 2.0  # a replica on the same machine is milliseconds behind; a busy one has its stalls


def may_undo(history: History, start: float, end: float, *, by: float = math.inf) -> bool:
    """Return whether a write that was made from `start` to `end` may be undone at the time `by`."""
    return any(
        fault.kind in schedule.FAILOVERS
        and fault.start - LAG_S < end
        and start < fault.end
        and fault.start < by
        for fault in history.faults
    )
