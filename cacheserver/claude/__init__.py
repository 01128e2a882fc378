"""The only way to Claude: calls, retries, concurrency, circuit breaker, events, models.

Promises: bodies and errors pass through unchanged; retries and waiting are bounded; no key is
logged. `capabilities` says what each model can do, from Anthropic's documentation.
Called by `cache`, and by workers that spend money through `ledger.recorder.RecordedClaude`.
"""
