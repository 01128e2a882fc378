"""Peers: the servers that share one store, their leases, and the stream of changes they follow.

Promises: a change that is confirmed is in force on every live server; a server whose lease has
lapsed holds none of what it remembers for true. A single server pays some commands a second.
Equal calls to Claude are made once: their leases only save money, and decide nothing.
Built by `bootstrap`; used by `cache` and by what is remembered of keys, tenants and settings.
"""
