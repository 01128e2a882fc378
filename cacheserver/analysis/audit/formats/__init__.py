"""Parsers of logs: Anthropic's bodies, LiteLLM, Langfuse, Helicone, OpenTelemetry, usage reports.

Promises: one module for each format; each turns a record into a `Call` or a reason to leave it out.
Called by `analysis.audit`, through `reading`.
"""
