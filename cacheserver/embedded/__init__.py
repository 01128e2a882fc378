"""Embedded store: a Valkey process that cacheserver starts, syncs and repairs.

Promises: an acknowledged write survives a kill; a damaged file is repaired or refused by name; two
servers never share a data directory.
Called by `bootstrap`, `backup` and the commands that read the store beside a server.
"""
