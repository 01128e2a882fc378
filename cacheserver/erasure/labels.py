"""Labels in erasures: numbers, but known by whom and of what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import orjson

from cacheserver.calibration.labels import SHADOW
from cacheserver.erasure import scripts
from cacheserver.erasure.cover import ErasureCover
from cacheserver.erasure.selectors import Selector
from cacheserver.storage.connection import Connection, command, run_script
from cacheserver.storage.json_values import tenant_key

_READ: Final = 500  # labels of one command
_REMOVED: Final = 50  # of one script: 5 ms, for a stream is searched for each


class ErasedLabels:
    """Eraser of covered labels. Those given after `until` (Unix s) stay."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str,
        tenant: str,
        selector: Selector,
        covered: ErasureCover,
        until: float,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._tenant = tenant
        self._selector = selector
        self._covered = covered
        self._until = until
        self._unlabel = redis.register_script(scripts.UNLABEL)

    async def erase(self, key: bytes, scope: str) -> int:
        """Erase what is covered of a scope; return how many labels. Raises `StoreError`."""
        by_namespace, bounded = self._selector.kind == "namespace", self._until < math.inf
        whole = self._selector.kind == "tenant" or (by_namespace and scope in self._covered.scopes)
        labels = [] if whole and not bounded else await self._labels(key)
        # A scope is of one namespace, which labels of earlier versions do not name.
        whole |= by_namespace and scope != SHADOW and any(covered for _, covered in labels)
        if whole and not bounded:
            return await self._remove(scope)
        ids, gone = [id for id, covered in labels if covered or whole], 0
        for start in range(0, len(ids), _REMOVED):
            gone += await self._remove(scope, *ids[start : start + _REMOVED])
        return gone

    async def _remove(self, scope: str, *ids: bytes) -> int:
        """Remove labels, or all of a scope if none is named."""
        named = (self._prefix, tenant_key(self._tenant), scope)
        return int(await run_script(self._unlabel, *named, *ids))

    async def _labels(self, key: bytes) -> list[tuple[bytes, bool]]:
        """Return the ids of labels, and whether each is covered by what it says."""
        labels, start = list[tuple[bytes, bool]](), b"-"
        end = "+" if math.isinf(self._until) else str(int(self._until * 1000))
        while page := await command(self._redis, "XRANGE", key, start, end, "COUNT", _READ):
            labels += [(id, self._covers(orjson.loads(row[b"l"]))) for id, row in page]
            start = b"(" + page[-1][0]
        return labels

    def _covers(self, row: Mapping[str, Any]) -> bool:
        evidence = row.get("evidence") or {}
        entry_id = evidence.get("entry") if isinstance(evidence, Mapping) else None
        return (
            row.get("caller") in self._covered.callers
            or entry_id in self._covered.entries
            or self._selector.covers(namespace=row.get("namespace"))
        )
