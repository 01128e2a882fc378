"""Finds what makes a prompt expensive or uncacheable, without asking Claude.

Promises: `rules` is pure; every finding names the field and what it costs.
Called by `POST /v1/lint` and `cacheserver lint`.
"""
