"""Routes a request with `model: auto` to the cheapest capable model, and escalates weak answers.

Promises: a failure is the middle tier, never an error; the model routed to never changes the
fingerprint. `rules` and `complexity` are pure.
Called by `cache.call_planner`; switched by a tenant's routing rules.
"""
