"""Storage in Redis: a shared connection, deadlines, lost data, the port for encryption.

Promises: every command has a deadline; a store that is away raises `StoreError` at once; commands
are common to Valkey 7.2 and Redis 6.2.
Called by each package's own store modules.
"""
