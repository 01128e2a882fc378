"""Models, counts and everything else of Anthropic's API, passed on as it comes and as it is.

Promises: with the server's key nobody reaches what another tenant made.
Used by `api.routes`, as the last route.
"""
