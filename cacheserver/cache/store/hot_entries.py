"""Stored answers in memory, parsed, on each server that has a lease.

Rule: no answer is served from here that a change has removed by the time the change returned,
whichever server made it.

- Scripts that change entries tell the other servers, if there are any (`entry_scripts`), and
  `confirm` returns once each of them has dropped what was changed, or its lease has lapsed
  (`peers`).
- Nothing is kept or served while the others may not know of this server yet.
- Changes of its own are dropped here as they return. One whose outcome is unknown may still be
  carried out by a store that hung: nothing is kept or served until that is over.
- A read that was under way during a change leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from redis.commands.core import AsyncScript

from cacheserver.cache.store.lru_bytes import LruBytes
from cacheserver.core.types import Entry
from cacheserver.peers.peers import Peers
from cacheserver.storage.connection import PREFIX, run_script

# Kinds of changes. Bodies: ids one after the other; an id with the fingerprint of what is stored.
GONE: Final = "gone"
STORED: Final = "stored"

_ID = 32  # characters of an entry's id
_OVERHEAD_BYTES = 2_000  # of an entry beside its texts, measured


class HotEntries:
    """Entries by fingerprint, `max_bytes` of them; 0: none.

    `change` runs the scripts that change entries, of every server and command.
    """

    def __init__(self, peers: Peers, *, prefix: str = PREFIX, max_bytes: int = 0) -> None:
        self._peers = peers
        self._prefix = prefix
        self._kept: LruBytes[str, Entry] = LruBytes(max_bytes)
        self._fingerprints: dict[str, str] = {}  # of the kept entries, by id
        self._changes = 0
        peers.listen(GONE, self._gone, anew=self._anew)

    @property
    def size(self) -> int:
        """Return the bytes in use."""
        return self._kept.bytes

    @property
    def held(self) -> bool:
        """Return whether what is kept may be served."""
        return self._peers.settled

    def get(self, fingerprint: str, now: float) -> Entry | None:
        """Return an entry that has not expired at `now`, in Unix seconds."""
        if not self.held:
            return None
        entry = self._kept.get(fingerprint)
        return entry if entry is not None and now < entry.expires_at else None

    def reading(self) -> int:
        """Return what to hand to `keep` with an entry that is read from the store from now on."""
        return self._changes

    def keep(self, entry: Entry, since: int) -> None:
        """Keep an entry, unless anything changed since `reading`."""
        if since != self._changes or not self.held:
            return
        self._fingerprints[entry.id] = entry.fingerprint
        size = _OVERHEAD_BYTES + len(entry.message) + 2 * len(entry.text or "")
        for gone in self._kept.put(entry.fingerprint, entry, size):
            self._fingerprints.pop(gone.id, None)

    def drop(self, fingerprint: str) -> None:
        """Drop the entry of `fingerprint`, which was replaced."""
        self._kept.pop(fingerprint)

    def drop_ids(self, entry_ids: Iterable[str]) -> None:
        for entry_id in entry_ids:
            if (fingerprint := self._fingerprints.pop(entry_id, None)) is not None:
                self._kept.pop(fingerprint)

    async def change(self, script: AsyncScript, *words: str | bytes | float) -> Any:
        """Run a script that changes entries; `confirm` waits for the other servers.

        The caller drops what was changed from here before it waits for anything else. Raises
        `StoreError`; then nothing is kept any more.
        """
        try:
            return await run_script(script, self._prefix, *words, self._peers.name)
        except BaseException:  # cancelled, too: it may be carried out all the same, and later
            self._peers.doubt()
            self._forget()
            raise
        finally:
            self._changes += 1

    async def noted(self, script: AsyncScript, *words: str | bytes | float) -> Any:
        """Run a script that removes or replaces, as `change` does; again if a failover loses it.

        It does nothing to entries that others have changed since.
        """
        self.note(script, *words)
        return await self.change(script, *words)

    def note(self, script: AsyncScript, *words: str | bytes | float) -> None:
        """Run a script that removes or replaces if a failover happens within a minute."""
        self._peers.note(lambda: self.change(script, *words))

    async def confirm(self, *, lasting: bool = True) -> None:
        """Wait until no server serves what was changed from its memory.

        `lasting`: also until a replica of the store has the change. Raises `StoreError`.
        """
        await self._peers.confirm(lasting=lasting)

    def close(self) -> None:
        """Drop everything."""
        self._forget()

    async def _gone(self, bodies: Sequence[str]) -> None:
        self._changes += 1  # reads under way may have found what is gone
        for body in bodies:
            self.drop_ids(body[at : at + _ID] for at in range(0, len(body), _ID))

    async def _anew(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._changes += 1
        self._kept.clear()
        self._fingerprints.clear()
