"""The path of one request: fingerprint, look-up, decision, fill, settlement.

Promises: every request ends in one `Answer` with a reason code and one ledger row. A failure of
ours is a miss; only a failure of Claude's is an error. `service` reads as one line; `ports` states
what it needs of others, and a capability that is switched off is not called.
Called by `api`, `batches` and `in_process`.
"""
