"""Settings of a simulated Claude."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cacheserver.simulated.directives import Directives


@dataclass(frozen=True, slots=True)
class SimulatedSettings:
    """Settings of the simulated Claude; by default it answers at once and accepts every key."""

    ttft_s: float = 0.0  # until the first byte of an answer
    tokens_per_s: float | None = None  # None: as fast as the socket takes them
    ping_s: float = 10.0  # between pings while a stream says nothing
    batch_s: float = 0.0  # until the last request of a batch is answered
    cancel_s: float = 0.0  # from a batch's cancellation to its end
    clock: Callable[[], float] = time.time  # Unix seconds; lifetimes and batches follow it
    kept_requests: int = 1_000  # of the log; the counts go on
    kept_bytes: int = 64 * 1024**2  # of their bodies: two of the largest there may be
    # Asked for every request that carries no directive; None answers as usual.
    direct: Callable[[Mapping[str, Any]], Directives | None] | None = None
