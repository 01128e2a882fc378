"""Erasure of the content of a tenant, an actor, a tag or a conversation, wherever it is stored.

Promises: every kind of key is listed in `key_kinds` (a test fails on one that is not); an erasure
that was interrupted is finished at the next start.
Called by `POST /v1/erase` and `cacheserver erase`.
"""
