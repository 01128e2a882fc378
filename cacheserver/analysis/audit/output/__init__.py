"""The audit's report: on the terminal, as HTML, with charts.

Promises: nothing is computed here but layout; text from a log is escaped and never longer than
the report allows.
Called by `analysis.audit.command`.
"""
