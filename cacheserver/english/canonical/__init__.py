"""Canonical forms: texts that differ in spelling or wording only are twins.

Promises: pure; no difference is ignored unless a rule lists it. The rules are for English.
Called by `english.comparison`, `english.profile_reader` and `english.language`.
"""
