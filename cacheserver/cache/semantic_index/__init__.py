"""Index over the vectors of stored questions: FAISS in this process, or Redis 8 vector sets.

Promises: an index is a derived view of the store; one that is lost or behind costs hits by
similarity, never a wrong answer. Both kinds pass the same tests, and find the same answers.
Used by `cache.store` and built by `cache.build`.
"""
