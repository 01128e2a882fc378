"""Plans Claude's prompt-cache marks, keeps prefixes warm, and watches prompts drift.

Promises: marks are placed only where the expected gain is positive; the body's own marks stay.
`planner`, `layout` and `multipliers` are pure; their rates are Anthropic's.
Called by `cache.call_planner` and by the routes of prompts.
"""
