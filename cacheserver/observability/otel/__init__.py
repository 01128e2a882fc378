"""Traces and metrics for OpenTelemetry, by its conventions for generative AI.

Rule: nothing of a prompt, an answer, a key, a header, a path or a query gets into an attribute:
words of ours, ids, sizes, amounts, and the names of tenants and models. Nothing here fails a
request, holds one up, or touches what the process may have set up of OpenTelemetry itself.

Only `start` imports the SDK; without it nothing of this is imported at all.
"""
