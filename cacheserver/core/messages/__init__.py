"""Messages requests as clients of Claude send them: their blocks, and what shapes no answer.

Promises: pure; what is left out of a request's identity is named here with its reason.
Used by `cache`, `promptcache`, `analysis` and `simulated`.
"""
