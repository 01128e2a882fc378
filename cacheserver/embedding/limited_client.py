"""HTTP client for threads, with one limit for the whole of a call.

Rule: the limit holds from the look-up of the host's name to the last byte of the reply. A blocking
client has limits for each step only: a server that sends a header now and then would hold its
thread for ever. So calls run on an event loop in a thread of its own, where each can be cancelled.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2


class ReplyTooLarge(Exception):
    """The reply has more bytes than were allowed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Status and body. The body is read for a 200 only."""

    status: int
    body: bytes


class LimitedClient:
    """POSTs JSON and follows no redirect. `close` is idempotent; then no call is possible."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        # What is sent goes to the URL that was set, and through no proxy of the environment.
        self._client = httpx2.AsyncClient(
            timeout=None, follow_redirects=False, headers=headers, trust_env=False
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="embeddings-endpoint", daemon=True
        )
        self._thread.start()

    def post(self, url: str, body: Any, *, limit_s: float, most_bytes: int) -> Reply:
        """Return the reply; the calling thread waits for it.

        Raises `TimeoutError`, `ReplyTooLarge`, and what httpx2 raises.
        """
        work = self._post(url, body, limit_s, most_bytes)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _post(self, url: str, body: Any, limit_s: float, most_bytes: int) -> Reply:
        async with asyncio.timeout(limit_s):
            async with self._client.stream("POST", url, json=body) as response:
                if response.status_code != 200:
                    return Reply(response.status_code, b"")
                read = bytearray()
                async for chunk in response.aiter_bytes():
                    read += chunk
                    if len(read) > most_bytes:
                        raise ReplyTooLarge
                return Reply(200, bytes(read))
