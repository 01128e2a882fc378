"""Linter for prompts: finds what makes one expensive or uncacheable, without calling Claude.

Promises: `rules` is pure; every finding names the field and what it costs.
Called by `POST /v1/lint` and `cacheserver lint`.
"""
