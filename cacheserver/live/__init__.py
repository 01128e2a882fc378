"""Live settings and prices, which operators change while servers run.

Promises: every server that shares the store has a change when it is acknowledged; the request path
never waits for one. Built by `bootstrap`; changed by the admin API.
"""
