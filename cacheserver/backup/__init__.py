"""Backs up and restores a data directory.

Promises: a backup is whole or not there; a restore never mixes two states.
Called by its commands.
"""
