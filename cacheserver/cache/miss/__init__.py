"""Misses: admission, the call to Claude, waiting requests, and the stored answer.

Promises: concurrent requests with the same key share one call; a caller that disconnects costs the
others nothing; an answer is stored only if it is complete and cacheable.
Called by `cache.service`; `batches` uses `answer_store` alone.
"""
