"""What is learned off the request path: labels, audits, the judge, feedback, reviews.

Promises: nothing here is waited for by a request; what cannot be learned is counted. A label
comes from an audit, a judge, a person or a declared pair, and carries who caused it.
Called by `bootstrap`, by the routes of feedback, reviews and bars, and by `batches`.
"""
