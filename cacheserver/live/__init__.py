"""Live settings and prices, which operators change while servers run.

Promises: every server that shares the store has a change within seconds, and at its next start; the
request path never waits for one. Built by `bootstrap`; changed by the admin API.
"""
