"""Moves data: answers from elsewhere are imported, entries, labels and settings go both ways.

Promises: an imported answer is stored under the identity of the request that the application will
send, so it is found as Claude's answers are, and decided on no more loosely; it carries the tag of
its import, which undoes it. No prompt or answer is kept but in entries.
Used by `/admin/v1/imports`, `/admin/v1/exports`, and the commands `export`, `import` and `warm`.
"""
