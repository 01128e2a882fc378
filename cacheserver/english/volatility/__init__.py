"""Detects questions whose answer changes with time or with the person who asks.

Promises: pure, one verdict for each text. A volatile question is answered, and its answer is never
stored for others.
Called by `english.language`.
"""
