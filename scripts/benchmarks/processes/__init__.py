"""The processes that a measurement runs, pinned to cores, and how they are asked."""
