"""Weights of `routing.complexity`, from a file that `scripts/train_router` writes.

docs/routing.md says what they were fitted on and how well they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cacheserver.core import data_files
from cacheserver.routing.complexity import Weights

FILE = "complexity_weights.json"
EMBEDDER = "all-MiniLM-L6-v2:"  # what the ids of embedders begin with whose vectors it reads


def of_table(table: Mapping[str, Any]) -> Weights:
    """Return the weights of one entry of the file."""
    simple, complex = table["vector"]
    return Weights(
        bias=_pair(table["bias"]),
        vector=(tuple(simple), tuple(complex)),
        features={name: _pair(both) for name, both in table["features"].items()},
        temperature=table["temperature"],
    )


def _pair(both: tuple[float, float]) -> tuple[float, float]:
    simple, complex = both
    return simple, complex


_TABLES = data_files.table("cacheserver.routing", FILE)
WITH_VECTOR = of_table(_TABLES["with_vector"])
WITHOUT = of_table(_TABLES["without"])
