"""Successors of older models."""

from __future__ import annotations

from dataclasses import astuple
from typing import Final

from cacheserver.core.rules.routing import Tiers

# The newest of each family is what a tier asks unless told otherwise: claude-<family>-<version>.
_NEWEST: Final = {str(model).split("-")[1]: str(model) for model in astuple(Tiers())}


def successor(model: str) -> str | None:
    """Return the newest model of a model's family; None for the newest or an unknown family."""
    for family, newest in _NEWEST.items():
        if family in model:
            return None if model.startswith(newest) else newest
    return None
