"""Comparison of this machine's clock with the store's.

Leases are by the store's clock alone. Deadlines of answers and the times of purges are by the
clocks of the servers, so these must agree.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

MOST_S: Final = 2.0  # NTP keeps machines within milliseconds; a reply may take a second


class ClockCheck:
    """Counts times at which the clocks differed, and logs the first of them."""

    def __init__(
        self, swallowed: Callable[[str], object], now: Callable[[], float] = time.time
    ) -> None:
        self.is_wrong = False
        self._swallowed = swallowed
        self._now = now

    def note(self, store_s: float) -> None:
        """Compare the clock with the store's, in Unix seconds."""
        ahead_s = self._now() - store_s
        if is_wrong := abs(ahead_s) > MOST_S:
            self._swallowed("clock")
            if not self.is_wrong:
                logger.warning(
                    "this machine's clock is %.0f s %s the store's: answers may be served "
                    "past their deadline, and purges miss what is under way; set it, as by NTP",
                    abs(ahead_s),
                    "ahead of" if ahead_s > 0 else "behind",
                )
        self.is_wrong = is_wrong
