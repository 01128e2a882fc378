"""Log of received requests, for tests that count and inspect calls."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from cacheserver.simulated.caller import masked

_SECRET = frozenset({"authorization", "x-api-key", "cookie", "proxy-authorization"})


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived; secrets in its headers are masked."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    account: str | None
    raw: bytes

    @property
    def size(self) -> int:
        """The size in bytes: body, headers and query. The path is checked before."""
        headers = sum(len(name) + len(value) for name, value in self.headers.items())
        return len(self.raw) + headers + len(self.query)

    @property
    def body(self) -> Any:
        """Return the JSON of the request, or None where it is none."""
        try:
            return orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            return None

    def shown(self) -> dict[str, Any]:
        """Return the request as `GET /_simulated/requests` shows it."""
        return {
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": self.headers,
            "account": self.account,
            "body_bytes": len(self.raw),
            "body_sha256": hashlib.sha256(self.raw).hexdigest(),
            "body": self.body,
        }


class RequestLog:
    """The latest requests, and how many there were of each path.

    At most `limit` of them, and of `limit_bytes` in all; the latest is there whatever its size.
    """

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self.requests: deque[Received] = deque()
        self.counts: Counter[str] = Counter()
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0

    def add(self, received: Received) -> None:
        """Note one request."""
        self.requests.append(received)
        self._bytes += received.size
        self.counts[received.path] += 1
        while len(self.requests) > 1 and (
            len(self.requests) > self._limit or self._bytes > self._limit_bytes
        ):
            self._bytes -= self.requests.popleft().size

    def clear(self) -> None:
        """Forget everything."""
        self.requests.clear()
        self._bytes = 0
        self.counts.clear()


def without_secrets(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers, each secret as its scheme and a fingerprint of the rest."""
    return {name: _mask(value) if name in _SECRET else value for name, value in headers.items()}


def _mask(value: str) -> str:
    scheme, _, rest = value.rpartition(" ")
    return f"{scheme} sha256:{masked(rest)}".strip()
