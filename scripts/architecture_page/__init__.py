"""The generated parts of docs/architecture.md, written by `scripts/architecture`."""
