"""Which model took an older one's place."""

from __future__ import annotations

from typing import Final

# The newest of each family at the time of writing (facts 5); Fable has no older one with a price.
_NEWEST: Final = {
    "haiku": "claude-haiku-5-5",
    "sonnet": "claude-sonnet-5-5",
    "opus": "claude-opus-5-5",
}


def successor(model: str) -> str | None:
    """The newest model of a model's family; None for the newest itself, or of no family of ours."""
    for family, newest in _NEWEST.items():
        if family in model:
            return None if model.startswith(newest) else newest
    return None
