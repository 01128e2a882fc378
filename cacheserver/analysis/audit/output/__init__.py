"""The audit's report: on the terminal, as HTML, with charts."""
