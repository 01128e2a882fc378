"""Commands that talk to a running server over its HTTP API.

They work with the base install, from any machine: each is a request or two of `client`, shown as a
table or as JSON. What a server sends is escaped before a terminal sees it.
Used by `cli`.
"""
