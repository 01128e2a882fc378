"""Compares two answers by their texts, profiles and vectors: do they say the same?

Promises: the comparison is pure; a doubtful pair is open, never equal.
Called by `calibration` for audits and labels, and by `routing.trials`.
"""
