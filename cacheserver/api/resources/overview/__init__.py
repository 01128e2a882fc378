"""Routes of the overview: money, hits, latency and alerts at a glance, and live counts.

For admins. Nothing is counted for it: it reads the ledger's sums and the server's metrics, when it
is asked. Called by `api.routes`.
"""
