"""Vectors of stored answers, so that each answer is embedded once.

Stored beside the entry and deleted with it. A row made by another embedder, or of an answer that
was replaced, counts as absent and is made again.

Every method raises `StoreError` when the store fails.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cacheserver.cache.store import codec, entry_scripts
from cacheserver.cache.store.codec import AnswerRow, pack_answer, unpack_answer
from cacheserver.core.types import Entry
from cacheserver.storage.connection import PREFIX, Connection, command, run_script
from cacheserver.storage.sealer import PlainSealer, Sealer

Vectors = npt.NDArray[np.float32]  # one row a vector


class AnswerVectors:
    """Store of answer vectors by entry; `made_by` names the embedder and how it was used."""

    def __init__(
        self,
        redis: Connection,
        *,
        made_by: str,
        dim: int,
        prefix: str = PREFIX,
        sealer: Sealer | None = None,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._made_by = made_by
        self._dim = dim
        self._sealer = sealer or PlainSealer()
        self._put = redis.register_script(entry_scripts.ANSWER)

    async def get(self, entries: Sequence[Entry]) -> list[Vectors | None]:
        """Return the vectors of each entry's answer, or None, in one round trip."""
        if not entries:
            return []
        keys = [f"{self._prefix}a:{entry.fingerprint}" for entry in entries]
        values = await command(self._redis, "MGET", *keys)
        await self._sealer.know(values, at=codec.ID_END)
        return [
            self._read(entry, unpack_answer(self._opened(entry, value)))
            for entry, value in zip(entries, values, strict=True)
        ]

    async def put(self, entry: Entry, vectors: Vectors) -> bool:
        """Store the vectors until the entry expires. False: it is gone or was replaced."""
        packed = vectors.astype(np.float16).tobytes()
        await self._sealer.ready(entry.tenant)
        value = codec.seal(
            self._sealer,
            "answer_vectors",
            tenant=entry.tenant,
            fingerprint=entry.fingerprint,
            value=pack_answer(AnswerRow(entry.id, self._made_by, packed)),
        )
        return bool(await run_script(self._put, self._prefix, entry.id, entry.fingerprint, value))

    def _opened(self, entry: Entry, value: bytes | None) -> bytes | None:
        return codec.unseal(self._sealer, "answer_vectors", entry.fingerprint, value)

    def _read(self, entry: Entry, row: AnswerRow | None) -> Vectors | None:
        if row is None or row.entry_id != entry.id or row.made_by != self._made_by:
            return None
        flat = np.frombuffer(row.vectors, dtype=np.float16).astype(np.float32)
        if not flat.size or flat.size % self._dim:
            return None
        return flat.reshape(-1, self._dim)
