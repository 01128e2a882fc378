"""Upkeep of the index as a view of the store: restored, compared, swept, moved to another kind.

Promises: what the index has too much is dropped, what it lacks is added; questions are answered
meanwhile.
Used by `cache.store` and built by `cache.build`.
"""
