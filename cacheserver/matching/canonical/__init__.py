"""Canonical forms: texts that differ in spelling or wording only are twins.

Promises: pure; what is not known to be safe stays as it is. The rules are of English.
Called by `matching.evidence` and `matching.question_text`.
"""
