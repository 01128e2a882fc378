"""Learning off the request path: labels, audits, the judge, feedback, the review queue.

Promises: no request waits for it; work that fails or is dropped is counted. A label comes from an
audit, a judge, a person or a declared pair, and records who caused it.
Called by `bootstrap`, by the routes of feedback, labels and bars, and by `batches`.
"""
