"""Vector index: text to vectors to neighbours.

Promises: knows no LLM, no Redis and no HTTP; a scope that is not partitioned finds what brute force
finds (`tests/index`); a damaged model or snapshot is refused.
Called by `cache.store.semantic`, by `embedding` and by offline analysis. Installed as
`cacheserver.index`.
"""
