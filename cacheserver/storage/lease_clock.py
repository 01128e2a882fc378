"""Clock of what servers promise each other for some seconds. Used by `peers` too."""

from __future__ import annotations

import time
from typing import Final

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def since_boot() -> float:
    """Return seconds that go on while the machine sleeps, where there is such a clock.

    What others wait for, such as a lease, ends meanwhile.
    """
    return time.clock_gettime(_CLOCK)
