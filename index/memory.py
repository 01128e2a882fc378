"""Memory that was freed, given back to the operating system."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Give freed memory back. glibc would keep it; elsewhere this does nothing.

    Training and loading free copies of all vectors: 34 MB stayed resident at 30,000. Takes some
    milliseconds, so it is for worker threads.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
