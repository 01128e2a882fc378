"""Bytes of each kind of data in the store, as counted by the scripts that write it.

Answers are counted in `scripts`, with the decisions; the ledger's rows in `ledgerscripts`, jobs in
`jobscripts`, labels and calibration states in `labelscripts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cacheserver.storage.connection import PREFIX, Connection, store_errors

# Of each kind the key, and the field where that is a hash.
_COUNTED: Final[Mapping[str, tuple[str, str | None]]] = {
    "answers": ("state", "bytes"),
    "decisions": ("db", None),
    "ledger": ("lrb", None),
    "jobs": ("bt:bytes", "total"),
    "labels": ("learnedbytes", "total"),
}


class StoreSizes:
    """Reader of the sizes. `limits` has the limit of each kind, None for none."""

    def __init__(
        self, redis: Connection, *, limits: Mapping[str, int | None], prefix: str = PREFIX
    ) -> None:
        self.limits = limits
        self._redis = redis
        self._prefix = prefix

    async def read(self) -> dict[str, int]:
        """Return the bytes by kind. Raises `StoreError`."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for key, field in _COUNTED.values():
                    if field is None:
                        pipe.get(f"{self._prefix}{key}")
                    else:
                        pipe.hget(f"{self._prefix}{key}", field)
                found = await pipe.execute()
        return {kind: int(value or 0) for kind, value in zip(_COUNTED, found, strict=True)}
