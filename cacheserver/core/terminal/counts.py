"""Numbers with their nouns: `1 answer`, `2,000 answers`. Pure."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun in the form that goes with it (default plural: with an s)."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
