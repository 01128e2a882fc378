"""Trims long conversations before they are sent, and stores turns for `/v1/query`.

Promises: the last turns stay, tool calls stay with their results; nothing is cut without a rule.
`trimming` is pure.
Called by `cache.call_planner` and by the routes of conversations.
"""
