"""Offline analysis of logs and workloads: audits, replays, scenarios.

Promises: nothing here runs in a server; results are the same for the same input and seed.
Called by the command line and by `scripts/`.
"""
