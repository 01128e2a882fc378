"""Declared questions: reads what a request declares, and replaces the blocks that it names.

Called by `cache.controls` for headers and fields, and by `cache.fingerprint` with the body.
"""
