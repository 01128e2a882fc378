"""The exact tier in memory: fingerprints with the expiry of each answer."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplayedEntry:
    """A stored answer, as far as a replay needs it."""

    source: str  # where it stands in the log
    expires_at: float


class Exact:
    """Stored answers by fingerprint; of more than `most` the one stored first goes first.

    What has expired stays known until it is pushed out: that is how a repeat that came too late is
    told from a new question.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[bytes, ReplayedEntry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, fingerprint: str, now: float) -> ReplayedEntry | None:
        """Return the answer that would be served at `now`."""
        found = self._entries.get(_key(fingerprint))
        return found if found is not None and now < found.expires_at else None

    def late(self, fingerprint: str, now: float) -> float | None:
        """Return how long ago the answer expired; None without an expired answer."""
        found = self._entries.get(_key(fingerprint))
        return None if found is None or now < found.expires_at else now - found.expires_at

    def put(self, fingerprint: str, entry: ReplayedEntry) -> None:
        """Keep an answer, in the place of an older one."""
        key = _key(fingerprint)
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)


def _key(fingerprint: str) -> bytes:
    return bytes.fromhex(fingerprint[:32])  # 128 bits: a quarter of the memory of its text
