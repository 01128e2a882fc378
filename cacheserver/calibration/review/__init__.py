"""Pairs of questions that people label: the queue, what they said, files of labels.

Promises: a label counts once and can be undone; no pair is asked about twice.
Called by the routes of labels, by feedback, and by `erasure`.
"""
