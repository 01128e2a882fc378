"""Labels in erasures: numbers, but known by whom and of what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

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
    """Eraser of covered labels. Of those given after `until` (Unix s) only ones of an entry go."""

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
        whole |= by_namespace and scope != SHADOW and any(map(self._covers, labels))
        if whole and not bounded:
            return await self._remove(scope)
        ids = [
            one.id
            for one in labels
            if one.entry in self._covered.entries
            or (one.given_at <= self._until and (whole or self._covers(one)))
        ]
        gone = 0
        for start in range(0, len(ids), _REMOVED):
            gone += await self._remove(scope, *ids[start : start + _REMOVED])
        return gone

    async def _remove(self, scope: str, *ids: bytes) -> int:
        """Remove labels, or all of a scope if none is named."""
        named = (self._prefix, tenant_key(self._tenant), scope)
        return int(await run_script(self._unlabel, *named, *ids))

    async def _labels(self, key: bytes) -> list[_Label]:
        labels, start = list[_Label](), b"-"
        while page := await command(self._redis, "XRANGE", key, start, "+", "COUNT", _READ):
            for id, fields in page:
                row = orjson.loads(fields[b"l"])
                evidence = row.get("evidence")
                entry = evidence.get("entry") if isinstance(evidence, Mapping) else None
                labels.append(_Label(id, row.get("caller"), entry, row.get("namespace")))
            start = b"(" + page[-1][0]
        return labels

    def _covers(self, label: _Label) -> bool:
        return (
            label.caller in self._covered.callers
            or label.entry in self._covered.entries
            or self._selector.covers(namespace=label.namespace)
        )


class _Label(NamedTuple):
    id: bytes  # of a stream: milliseconds, and a number
    caller: str | None
    entry: str | None
    namespace: str | None

    @property
    def given_at(self) -> float:
        return int(self.id.partition(b"-")[0]) / 1_000
