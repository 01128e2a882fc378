"""Decision rules: whether a stored answer may serve a question.

Holds evidence, the prior, calibration and the conformal bound, and states the port for word rules
(`language`). Promises: pure; doubt is a miss; what no word rule can read is not served by
similarity; nothing a caller writes makes a decision more lenient.
Called by `cache` to decide, by `calibration` to learn, and by `analysis` to replay.
"""
