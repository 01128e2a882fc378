"""Caps `max_tokens` at the lengths that answers of the same task have needed.

Promises: a cap that cuts an answer is raised and the answer asked again; the caller's own
`max_tokens` is never exceeded. `rules` is pure.
Called by `cache.call_planner`; switched by a tenant's length rules.
"""
