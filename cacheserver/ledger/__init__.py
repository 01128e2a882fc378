"""One row for each request and each call that cost money; sums, export, retention.

Promises: rows are written once, sums are exact in nanodollars, and what leaves Redis is in files
first. A row that cannot be written is counted, and the answer still leaves.
Called by `cache.settlement` through a port, and by the routes of usage.
"""
