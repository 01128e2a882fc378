"""Everything of Anthropic's API that the server has no route of its own for, passed on as it is.

Used by `api.resources.passthrough`. Rule: with the server's key a tenant reaches only what it made
itself; what would cost money outside a single request is refused, for no budget could hold it.
"""
