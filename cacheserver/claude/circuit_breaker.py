"""Circuit breaker: while Claude fails, calls fail at once instead of waiting.

Closed, it counts tries of the last half minute. If most of them failed it opens, and no call is
made. After a while one call probes: it closes on success, otherwise stays open for twice as long.
All calls of one tenant count as one vote, and a tenant that has not failed may probe at once: a
tenant whose calls fail shuts out nobody else.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cacheserver.core.errors import CircuitOpen

logger = logging.getLogger(__name__)

State: TypeAlias = Literal["closed", "half-open", "open"]

_WINDOW_S = 30.0  # a few back-offs long, and no memory of an outage that is over
_LONGEST_S = 60.0  # what is back is found within a minute


@dataclass(frozen=True, slots=True)
class Opening:
    """State at the last opening, for alerts."""

    number: int  # of this process, from 1
    failed: int
    tries: int
    open_s: float


class CircuitBreaker:
    """Circuit breaker. Times are seconds of any monotonic clock."""

    def __init__(
        self,
        *,
        share: float,
        least: int,
        open_s: float,
        on_event: Callable[[str], None] = lambda event: None,
    ) -> None:
        """Open where more than `share` of at least `least` tries failed, for `open_s` at first.

        `on_event` is called with `opened` and `closed`.
        """
        self.opening: Opening | None = None  # the last one
        self._share = share
        self._least = least
        self._first_s = open_s
        self._on_event = on_event
        self._window: deque[tuple[float, str, int, int]] = deque()  # at, tenant, tries, failures
        self._tries: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._until: float | None = None  # open until then; None: closed
        self._open_s = open_s
        self._closed_at = -math.inf
        self._failing: set[str] = set()
        self._probe_until = -math.inf  # a probe is out, and waited for until then

    def state(self, now: float) -> State:
        if self._until is None:
            return "closed"
        return "open" if now < self._until else "half-open"

    @property
    def closed(self) -> bool:
        """Return whether Claude is asked as usual."""
        return self._until is None

    def check(self, tenant: str, now: float) -> None:
        """Raise `CircuitOpen` if `enter` would."""
        if self._until is None:
            return
        if now < self._probe_until:
            raise CircuitOpen(max(1.0, self._until - now))
        if now < self._until and tenant in self._failing:
            raise CircuitOpen(self._until - now)

    def enter(self, tenant: str, now: float) -> bool:
        """Admit a call; return True if it is the probe, whose outcome `leave` must be given.

        Raises `CircuitOpen`.
        """
        self.check(tenant, now)
        if self._until is None:
            return False
        # A probe that hangs must not shut everybody out for as long as Claude may take.
        self._probe_until = now + self._open_s
        return True

    def leave(self, tenant: str, now: float, *, good: bool | None, probe: bool) -> None:
        """Record the outcome of a call; `good` None: it says nothing about Claude."""
        if probe:
            self._probe_until = -math.inf
        if good is None:
            return
        if self._until is None:
            self._note(now, tenant, tries=1, failures=0 if good else 1)
        elif probe and good:
            self._close(tenant, now)
        elif probe and tenant not in self._failing:
            self._failing.add(tenant)  # it, too
        elif probe:
            self._open_s = min(2 * self._open_s, _LONGEST_S)
            self._until = now + self._open_s

    def broke(self, tenant: str, now: float) -> None:
        """Count a call as failed after all: its answer broke off."""
        if self._until is None:
            self._note(now, tenant, tries=0, failures=1)

    def _note(self, now: float, tenant: str, *, tries: int, failures: int) -> None:
        while self._window and self._window[0][0] <= now - _WINDOW_S:
            _, whose, tried, failed = self._window.popleft()
            self._tries[whose] -= tried
            self._failures[whose] -= failed
            if self._tries[whose] <= 0 and self._failures[whose] <= 0:
                del self._tries[whose], self._failures[whose]
        self._window.append((now, tenant, tries, failures))
        self._tries[tenant] += tries
        self._failures[tenant] += failures
        if failures and self._failing_now():
            self._open(now)

    def _failing_now(self) -> bool:
        tries, failures = self._tries.total(), self._failures.total()
        if tries < self._least or failures <= self._share * tries:
            return False
        shares = [min(1.0, self._failures[one] / max(1, self._tries[one])) for one in self._tries]
        return sum(shares) / len(shares) > self._share

    def _open(self, now: float) -> None:
        soon = now - self._closed_at < _LONGEST_S  # it flaps
        self._open_s = min(2 * self._open_s, _LONGEST_S) if soon else self._first_s
        self._until = now + self._open_s
        self._failing = {tenant for tenant, failures in self._failures.items() if failures}
        number = 1 if self.opening is None else self.opening.number + 1
        failed, tries = self._failures.total(), self._tries.total()
        self.opening = Opening(number, failed, tries, self._open_s)
        self._forget()
        logger.warning(
            "Claude fails: %d of the last %d calls; no calls for %.0f s",
            failed,
            tries,
            self._open_s,
        )
        self._on_event("opened")

    def _close(self, tenant: str, now: float) -> None:
        self._until, self._closed_at = None, now
        self._failing = set()
        self._forget()
        self._note(now, tenant, tries=1, failures=0)
        logger.warning("Claude answers again")
        self._on_event("closed")

    def _forget(self) -> None:
        self._window.clear()
        self._tries.clear()
        self._failures.clear()
