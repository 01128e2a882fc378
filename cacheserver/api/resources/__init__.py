"""HTTP routes, one file for each resource.

Promises: a route parses its input, calls one capability and encodes the result. It holds no rule.
Used by `app` only, which adds them to the application.
"""
