"""Checks on answers: a tenant's rules for a task, or the output format that a request asks for.

Promises: pure; a check that cannot be made neither accepts nor rejects an answer.
Called by `routing` to escalate an answer, and by `routing.trials` to compare models.
"""
