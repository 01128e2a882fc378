"""A labelled pair of questions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pair:
    """Label 1: one answer serves both. `source` is the set or generator, e.g. "own:filler"."""

    a: str
    b: str
    label: int
    source: str
