"""Routes of tenants and their keys, for the admin.

Promises: a change touches what it names and nothing else; a key is shown once, when it is made.
Called by admins; the rules are those of `tenants`.
"""
