"""Fingerprints that this server knows to be stored, or to have been: a hint in a megabyte of bits.

Rule: it tells only in which order to look. One that it does not know may be stored all the same, by
another server; and one that it knows may be gone, or be another with the same bit.
"""

from __future__ import annotations

_BITS = 1 << 23  # at 100,000 entries 1.2% of new fingerprints find their bit set


class Seen:
    """Set of fingerprints that only grows."""

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)

    def add(self, fingerprint: str) -> None:
        at = hash(fingerprint) % _BITS
        self._bits[at >> 3] |= 1 << (at & 7)

    def __contains__(self, fingerprint: str) -> bool:
        at = hash(fingerprint) % _BITS
        return bool(self._bits[at >> 3] >> (at & 7) & 1)
