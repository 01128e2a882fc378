"""Probe vectors: one text's vector tells models apart where the embedder's id does not."""

from __future__ import annotations

from cacheserver.index.models import Vectors

_SAME = 0.98  # cosine of one model's vectors of the same text; quantised servers vary by 0.001


def difference(now: Vectors, before: Vectors) -> str | None:
    """Return how the model differs from the one it was before; None: it does not."""
    if now.shape != before.shape:
        return f"answers with {now.size} dimensions, the stored questions have {before.size}"
    cosine = float(now @ before)
    if cosine < _SAME:
        return f"gives the same text another vector than before (cosine {cosine:.2f})"
    return None
