"""Review queue: pairs that wait for a person to say whether one answer serves both questions.

A person must read the questions, so this is the one place beside the entries that holds users'
questions: a tenant's newest `most` pairs, each for `life_s` and no longer.

Every method raises `StoreError` when the store fails or an item is too large.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cacheserver.calibration import label_scripts
from cacheserver.core.errors import StoreError
from cacheserver.storage.connection import PREFIX, Connection, command, run_script
from cacheserver.storage.json_values import encode_object, tenant_key
from cacheserver.storage.sealer import PlainSealer, Sealer, as_object

KIND = "reviews"  # of sealed values
LIFE_S = 30 * 86_400  # as long as an answer may be kept at most

_MAX_ITEM = 32_768  # bytes; two questions within the embedder's window are some 2,000
_ID = re.compile(r"[0-9]{16}")


class ReviewQueue:
    """Queue of items by tenant, each a JSON object, oldest first."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        most: int = 1_000,
        life_s: float = LIFE_S,
        sealer: Sealer | None = None,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._most = most
        self._sealer = sealer or PlainSealer()
        self._life_ms = round(life_s * 1000)
        self._put = redis.register_script(label_scripts.REVIEW)
        self._list = redis.register_script(label_scripts.REVIEWS)

    async def put(self, tenant: str, item: Mapping[str, Any], *, once: str | None = None) -> str:
        """Append an item, dropping the oldest if there are too many; return its id.

        With the same `once` it is appended once during its life, even if it was removed.
        """
        text = encode_object("an item for review", item, most=_MAX_ITEM)
        marker = ""
        if once is not None:
            digest = hashlib.sha256(f"review:{once}".encode()).hexdigest()[:32]
            marker = f"{self._prefix}once:{tenant_key(tenant)}:{digest}"
        await self._sealer.ready(tenant)
        # Not sealed to its id, which the store assigns; an item names its subject itself.
        text = self._sealer.seal(KIND, tenant, "", text)
        words = (tenant_key(tenant), text, self._most, self._life_ms, marker)
        return str((await run_script(self._put, self._prefix, *words)).decode())

    async def items(
        self, tenant: str, *, after: str | None = None, limit: int = 100
    ) -> list[tuple[str, Mapping[str, Any]]]:
        """Return up to `limit` items with their ids, after the id `after`; fewer at the end."""
        if after is not None and _ID.fullmatch(after) is None:
            raise StoreError(f"{after[:64]!r} is not the id of an item for review")
        start = "-inf" if after is None else f"({after}"
        items: list[tuple[str, Mapping[str, Any]]] = []
        while (left := limit - len(items)) > 0:
            found = await run_script(self._list, self._prefix, tenant_key(tenant), start, left)
            await self._sealer.know(found[1::2])
            for item_id, packed in zip(found[::2], found[1::2], strict=True):
                item = self._sealer.read(KIND, tenant, "", packed, as_object)
                if item is not None:
                    items.append((item_id.decode(), item))
            if len(found) < 2 * left:
                break
            start = f"({found[-2].decode()}"
        return items

    async def remove(self, tenant: str, ids: Sequence[str]) -> int:
        """Remove items; return how many there were."""
        if not ids:
            return 0
        # The items first: an id left in the queue's order is dropped when it is read.
        keys = [f"{self._prefix}review:{tenant_key(tenant)}:{item_id}" for item_id in ids]
        removed = await command(self._redis, "DEL", *keys)
        await command(self._redis, "ZREM", f"{self._prefix}reviews:{tenant_key(tenant)}", *ids)
        return int(removed)
