"""The store that we start: a Valkey process of our own, its disk and its repairs.

Promises: an acknowledged write survives a kill; a damaged file is repaired or refused by name; two
servers never share a data directory.
Called by `bootstrap` and `backup`.
"""
