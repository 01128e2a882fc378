"""Traces and metrics for OpenTelemetry, by its conventions for generative AI.

Promises: no attribute holds any part of a prompt, an answer, a key, a header, a path or a query;
only fixed words, ids, sizes, amounts, and names of tenants and models. Nothing here fails or delays
a request, or changes an OpenTelemetry set-up that the process already has.
Started by `bootstrap`. Only `start` imports the SDK; without it no other module here is imported.
"""
