"""Embeddings for a replay: computed ahead in threads, each text once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

from cacheserver.index.errors import EmbedderFailed, Unreadable
from cacheserver.index.models import Embedder, Vectors

_MEMO = 20_000  # vectors, 1.5 kB each

# Waits between tries of an embedder that fails: a restart of an endpoint takes some seconds, and
# after three failures it is left alone for five.
_PAUSES_S = (1.0, 3.0, 6.0, 12.0)

PendingVectors: TypeAlias = "Future[Vectors | None]"


class Embedding:
    """An embedder behind threads. `close` ends them; what waits then is not made."""

    def __init__(
        self, embedder: Embedder, *, threads: int = 1, pauses_s: Sequence[float] = _PAUSES_S
    ) -> None:
        self.asked = 0  # texts that were, or will be, embedded
        self._embedder = embedder
        self._pauses_s = pauses_s
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="replay-embed")
        self._made: OrderedDict[bytes, PendingVectors] = OrderedDict()

    @property
    def id(self) -> str:
        return self._embedder.id

    @property
    def dim(self) -> int:
        return self._embedder.dim

    def ahead(self, text: str) -> None:
        """Start embedding a text."""
        self._ask(text)

    def get(self, text: str) -> Vectors | None:
        """Return the text's unit vector; None if the embedder cannot read it.

        Raises `EmbedderFailed` once it has failed at every try.
        """
        return self._ask(text).result()

    def has(self, text: str) -> bool:
        """Return whether a text is embedded or queued."""
        return _key(text) in self._made

    def close(self) -> None:
        self._closing.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _ask(self, text: str) -> PendingVectors:
        key = _key(text)
        found = self._made.get(key)
        if found is None:
            self.asked += 1
            found = self._made[key] = self._pool.submit(self._embed, text)
            if len(self._made) > _MEMO:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end(key)
        return found

    def _embed(self, text: str) -> Vectors | None:
        for pause_s in (*self._pauses_s, None):
            try:
                vector: Vectors = self._embedder.embed([text])[0]
            except Unreadable:
                return None
            except EmbedderFailed:
                # Going on without would call the questions left unreadable, and the savings small.
                if pause_s is None or self._closing.wait(pause_s):
                    raise
            else:
                return vector
        raise AssertionError("the last try returns or raises")


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
