"""Backs up, restores and repairs a data directory; manages its encryption keys.

Promises: a backup is whole or not there; a restore never mixes two states.
Called by the command line.
"""
