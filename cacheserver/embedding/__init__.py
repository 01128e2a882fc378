"""Embedding: chooses the embedder by the settings, and brings the prior that was fitted for it.

Promises: what an operator must change is refused at the start, by the setting's name; an endpoint
that fails later costs semantic hits, never a request; its key is in no log.
Called by `bootstrap` and `analysis.audit`.
"""
