"""Queries of requests that came a moment ago, so that the same bytes are read once.

Reading a body, its controls and its fingerprint takes a third of a stored answer's time. It is a
pure function of the route, the bytes, the headers that count, the tenant's settings and the key.
"""

from __future__ import annotations

from typing import TypeAlias

from starlette.types import Scope

from cacheserver.api.dependencies import Caller
from cacheserver.cache.store.lru_bytes import LruBytes
from cacheserver.core.types import Query

# Beginnings of the names of all headers that a query is made of: those for Claude, and the cache's
# own controls, whose names are in `cache.controls`. Of others it is independent.
_COUNT = (b"anthropic-", b"x-c", b"cache-control")

# Of a query, beside its body as it came and as it was read; and of each string in that, for which
# its quotes stand. Measured: 2.3 kB for a body of 118 bytes, 91 kB for one of 10 kB in 300 blocks.
_OVERHEAD_BYTES = 2_000
_QUOTE_BYTES = 30
_LONGEST = 64 * 1024  # a longer body is rarely sent twice, and takes the place of hundreds

_Key: TypeAlias = tuple[str, bytes, str | None, tuple[tuple[bytes, bytes], ...]]


class RecentQueries:
    """Queries by the bytes that they were read from. Errors are not kept."""

    def __init__(self, max_bytes: int) -> None:
        self._kept: LruBytes[_Key, Query] = LruBytes(max_bytes)

    @property
    def size(self) -> int:
        """Return the bytes in use."""
        return self._kept.bytes

    def get(self, scope: Scope, raw: bytes, caller: Caller) -> Query | None:
        """Return the query of the same request, if it came under the same settings."""
        query = self._kept.get(_key(scope, raw, caller))
        return query if query is not None and query.tenant == caller.tenant else None

    def keep(self, scope: Scope, raw: bytes, caller: Caller, query: Query) -> None:
        """Keep a query; none with a caller's own credential, nor of a tenant without content."""
        if caller.credential is None and not caller.tenant.no_content and len(raw) <= _LONGEST:
            size = _OVERHEAD_BYTES + 2 * len(raw) + _QUOTE_BYTES * raw.count(b'"')
            self._kept.put(_key(scope, raw, caller), query, size)

    def forget(self) -> None:
        """Drop all of them, and with them the texts of questions."""
        self._kept.clear()


def _key(scope: Scope, raw: bytes, caller: Caller) -> _Key:
    counting = tuple([pair for pair in scope["headers"] if pair[0].startswith(_COUNT)])
    return scope["path"], raw, caller.key_id, counting
