"""Several servers on one store: what they do together, and a simulation of many more.

Used by `scripts/bench scale` (docs/scaling.md).
"""
