"""Ledger: one row for each request and each call that cost money; sums, export, retention.

Promises: rows are written once, sums are exact in nanodollars, and a row is deleted from Redis only
once a file has it. A row that cannot be written is counted, and the answer is still sent.
Called by `cache.settlement` through a port, and by the routes of usage.
"""
