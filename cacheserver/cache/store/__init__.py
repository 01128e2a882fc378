"""Stored entries and decisions in Redis, with the vector index kept in step.

Promises: Redis holds the truth. A vector without an entry is dropped when it is found; an entry
without a vector is indexed again.
Called by `cache.service`; `erasure` and `calibration` read and delete entries through it.
"""
