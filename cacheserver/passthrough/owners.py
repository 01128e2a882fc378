"""Owners of what tenants made at Anthropic with the server's key.

Rule: isolation fails closed. While the store is away nobody reaches anything by its id.

    P made:<id>   who made it: `{"tenant": ..., "kind": ..., "at": ...}`, until it is deleted
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import orjson

from cacheserver.claude.upstream import Call
from cacheserver.core import json_text
from cacheserver.core.errors import StoreError, UpstreamError
from cacheserver.passthrough import rules
from cacheserver.storage.connection import Connection, command, read_values

_AT_ONCE: Final = 500  # look-ups of one command
_AT_HAND_BYTES: Final = 256 * 1024  # reading so much takes 2 ms
MOST_NAMED: Final = 5_000  # ids in one request: beyond all that a request can hold of files


class Owners:
    """Record of who made what, and the check that nobody names what another made."""

    def __init__(self, redis: Connection, *, prefix: str, clock: Callable[[], float]) -> None:
        self._redis = redis
        self._prefix = prefix
        self._clock = clock

    async def record(self, tenant: str, kind: str, id: str) -> bool:
        """Record that a tenant made something. False: another tenant has it. Raises `StoreError`.

        A kind may answer a second creation, such as one with a name of the caller's, with the
        first one's id: that stays whose it was.
        """
        row = orjson.dumps({"tenant": tenant, "kind": kind, "at": round(self._clock())})
        if await command(self._redis, "SETNX", f"{self._prefix}made:{id}", row):
            return True
        return await self.owns(tenant, kind, id)

    async def forget(self, id: str) -> None:
        """Forget what no longer exists. Raises `StoreError`."""
        await command(self._redis, "UNLINK", f"{self._prefix}made:{id}")

    async def of(self, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return tenant and kind of the ids that were made here. Raises `StoreError`."""
        found: dict[str, tuple[str, str]] = {}
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            values = await read_values(self._redis, [f"{self._prefix}made:{id}" for id in some])
            for id, value in zip(some, values, strict=True):
                if value is not None:
                    row = orjson.loads(value)
                    found[id] = row["tenant"], row["kind"]
        return found

    async def owns(self, tenant: str, kind: str, id: str) -> bool:
        """Return whether a tenant made this. Raises `StoreError`."""
        return (await self.of([id])).get(id) == (tenant, kind)

    async def others(self, tenant: str, ids: Sequence[str]) -> str | None:
        """Return the first id that another tenant made; None if there is none.

        What was made elsewhere, with the same account, is nobody's here and may be named: an
        operator's own files are. Callers bound `ids` by `MOST_NAMED`. Raises `StoreError`.
        """
        made = await self.of(ids)
        return next((id for id, (whose, _) in made.items() if whose != tenant), None)

    async def guard(self, call: Call) -> None:
        """Raise `UpstreamError` for a call with the server's key that names what another made."""
        if call.credential is not None:
            return
        ids = [call.headers[rules.USER_PROFILE]] if rules.USER_PROFILE in call.headers else []
        if rules.may_name(call.body):
            ids += await _named(call.body)
        if not ids:
            return
        if len(ids) > MOST_NAMED:
            raise _refused(400, "invalid_request_error", f"more than {MOST_NAMED:,} ids are named")
        try:
            other = await self.others(call.tenant, ids)
        except StoreError:
            message = "the store is away, so whose the files are is not known; try again shortly"
            raise _refused(503, "api_error", message) from None
        if other is not None:
            raise _refused(404, "not_found_error", f"`{other}` was not found")


async def _named(body: bytes) -> list[str]:
    """Return the ids that a Messages body names; a large one is read in a thread."""

    def work() -> list[str]:
        return rules.named(unescaped(body))

    return work() if len(body) <= _AT_HAND_BYTES else await asyncio.to_thread(work)


def unescaped(body: bytes) -> bytes:
    """Return a JSON body in which no ASCII letter is written as an escape; others as they are."""
    if not rules.has_escapes(body):
        return body
    try:
        return json_text.dumps(json_text.loads(body))
    except ValueError:
        return body  # Claude cannot read it either


def _refused(status: int, type: str, message: str) -> UpstreamError:
    return UpstreamError.shaped(status, type, message)
