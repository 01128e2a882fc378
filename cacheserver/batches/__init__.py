"""Deferred questions and Message Batches: answered from the cache or at half price.

Promises: an item is answered once, billed once, and never lost once acknowledged.
`schedule` and `eligibility` are pure.
Called by the routes of batches and jobs; `scheduler` is its background work.
"""
