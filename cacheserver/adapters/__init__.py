"""Adapters of the client to the caches of other libraries, each behind an extra of its name.

Used by applications; nothing here imports one of them.
"""
