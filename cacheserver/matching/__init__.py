"""Decision rules: whether a stored answer may serve a question.

Holds vetoes, evidence, the prior, calibration and the conformal bound. Promises: pure. The same
texts, labels and bar give the same decision; `None` and doubt are a miss; nothing a caller writes
makes a decision more lenient.
Called by `cache` to decide, by `calibration` to learn, and by `analysis` to replay.
"""
