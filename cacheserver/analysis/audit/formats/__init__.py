"""Readers of logs that others wrote: one module a format."""
