"""Ids of embedders, as stored data name them."""

from __future__ import annotations

from typing import Final

# The embedder of stored data that do not say which one they are of: vectors, weights.
FIRST: Final = "all-MiniLM-L6-v2:53aa51172d14:int8-per-channel:mean"
