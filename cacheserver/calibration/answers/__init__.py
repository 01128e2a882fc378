"""Do two answers say the same? Their texts, profiles and vectors compared.

Promises: the comparison is pure; a doubtful pair is open, never equal.
Called by `calibration` for audits and labels, and by `routing.trials`.
"""
