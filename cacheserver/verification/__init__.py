"""Verification: the cheapest Claude is asked whether a stored answer serves a question.

Promises: a yes serves only if the posterior reaches the floor of every other hit; a call that
fails, is slow or over its cap is a miss with its reason; each call is a row of the ledger.
Called by `cache.service` through the port `cache.ports.Verifier`.
"""
