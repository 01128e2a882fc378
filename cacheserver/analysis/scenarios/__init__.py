"""Scenarios: workloads as TOML files, replayed through the real policies in virtual time.

Promises: the same file and seed give the same amounts; every assumption is printed with its source.
Called by `cacheserver simulate` and `cacheserver presets`, and by `scripts/`.
"""
