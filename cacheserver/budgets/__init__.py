"""Budgets in money and tokens, and rate limits of keys.

Promises: a spend is reserved before it happens and settled after; concurrent requests cannot
exceed a hard budget together. `rules` and `token_bucket` are pure.
Called by `cache.service` through a port, and by the routes of budgets.
"""
