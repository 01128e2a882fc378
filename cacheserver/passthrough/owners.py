"""Owners of what tenants made at Anthropic with the server's key.

Rule: isolation fails closed. While the store is away nobody reaches anything by its id.

    P made:<id>   who made it: `{"tenant": ..., "kind": ..., "at": ...}`, until it is deleted; of a
                  container or a thread as long as Claude keeps it (`stateful`)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import orjson

from cacheserver.claude import sse
from cacheserver.claude.upstream import Call
from cacheserver.core import json_text
from cacheserver.core.errors import StoreError, UpstreamError
from cacheserver.passthrough import rules, stateful
from cacheserver.passthrough.stateful import Made
from cacheserver.storage.connection import Connection, command, read_values

_AT_ONCE: Final = 500  # look-ups of one command
_AT_HAND_BYTES: Final = 256 * 1024  # reading so much takes 2 ms
MOST_NAMED: Final = 5_000  # ids in one request: beyond all that a request can hold of files
_MOST_UNSAVED: Final = 10_000  # 2 MB: records that wait for a store that is away


class Counters(Protocol):
    """The counter of failures that no request sees."""

    def swallowed(self, site: str) -> None: ...


class Owners:
    """Record of who made what, and the check that nobody names what another made."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str,
        clock: Callable[[], float],
        counters: Counters,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._clock = clock
        self._counters = counters
        # What answers showed while the store was away: written before the record is next asked.
        self._unsaved: dict[str, tuple[str, Made]] = {}

    async def record(self, tenant: str, kind: str, id: str, *, keep_s: int | None = None) -> bool:
        """Record that a tenant made something. False: another tenant has it. Raises `StoreError`.

        A kind may answer a second creation, such as one with a name of the caller's, with the
        first one's id: that stays whose it was. `keep_s` counts from the last time.
        """
        key = f"{self._prefix}made:{id}"
        row = orjson.dumps({"tenant": tenant, "kind": kind, "at": round(self._clock())})
        ending = () if keep_s is None else ("EX", str(keep_s))
        if await command(self._redis, "SET", key, row, "NX", *ending):
            return True
        mine = (await self._read([id])).get(id) == (tenant, kind)
        if mine and keep_s is not None:
            await command(self._redis, "EXPIRE", key, str(keep_s))
        return mine

    def recording(self, call: Call, raw: bytes) -> Awaitable[None] | None:
        """Return the work of recording what an answer to a call shows; None: there is nothing.

        `raw` is a message, an event of a stream or a line of a batch's results. It goes to the
        caller once that is done, who can then name what was made. Raises nothing.
        """
        if call.credential is not None:
            return None
        thread = stateful.begins(raw) and (
            stateful.is_thread(call.body) or rules.has_escapes(call.body)
        )
        if not thread and not stateful.shows_made(raw):
            return None
        return self._record_made(call.tenant, raw, thread=thread)

    async def _record_made(self, tenant: str, raw: bytes, *, thread: bool) -> None:
        found = sse.decode(raw) if raw.startswith(b"event") else _object(raw)
        for one in stateful.made(found or {}, thread=thread):
            if not rules.is_id(one.id):
                self._counters.swallowed("passthrough")
                continue
            try:
                await self._save(tenant, one)
            except StoreError:
                self._counters.swallowed("passthrough")
                if len(self._unsaved) < _MOST_UNSAVED:
                    self._unsaved[one.id] = tenant, one

    async def _save(self, tenant: str, made: Made) -> None:
        keep_s = made.keep_s(self._clock())
        if not await self.record(tenant, made.kind, made.id, keep_s=keep_s):
            self._counters.swallowed("passthrough")  # Claude showed one tenant what another has

    async def forget(self, id: str) -> None:
        """Forget what no longer exists. Raises `StoreError`."""
        await command(self._redis, "UNLINK", f"{self._prefix}made:{id}")

    async def of(self, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return tenant and kind of the ids that were made here. Raises `StoreError`."""
        for id, (tenant, made) in list(self._unsaved.items()):
            await self._save(tenant, made)
            self._unsaved.pop(id, None)
        return await self._read(ids)

    async def _read(self, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
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
        continued: list[tuple[str, str]] = []
        if rules.may_name(call.body) or stateful.may_continue(call.body):
            named, continued = await _named(call.body)
            ids += named
        if not ids and not continued:
            return
        if len(ids) + len(continued) > MOST_NAMED:
            raise _refused(400, "invalid_request_error", f"more than {MOST_NAMED:,} ids are named")
        try:
            other = await self.others(call.tenant, ids)
            if other is None:
                other = await self._not_mine(call.tenant, continued)
        except StoreError:
            message = "the store is away, so whose the ids are is not known; try again shortly"
            raise _refused(503, "api_error", message) from None
        if other is not None:
            raise _refused(404, "not_found_error", f"`{other}` was not found")

    async def _not_mine(self, tenant: str, continued: Sequence[tuple[str, str]]) -> str | None:
        """Return the first id of a container or a thread that is not the tenant's."""
        if not continued:
            return None
        made = await self.of([id for _, id in continued])
        return next((id[:128] for kind, id in continued if made.get(id) != (tenant, kind)), None)


async def _named(body: bytes) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the ids that a Messages body names, and what it continues.

    A large body is read in a thread. Raises `UpstreamError` for one that is nested too deeply.
    """

    def work() -> tuple[list[str], list[tuple[str, str]]]:
        plain = unescaped(body)
        continues = stateful.may_continue(plain)
        return rules.named(plain), stateful.continued(body) if continues else []

    try:
        return work() if len(body) <= _AT_HAND_BYTES else await asyncio.to_thread(work)
    except RecursionError:
        raise _refused(400, "invalid_request_error", "the body is nested too deeply") from None


def unescaped(body: bytes) -> bytes:
    """Return a JSON body in which no ASCII letter is written as an escape; others as they are."""
    if not rules.has_escapes(body):
        return body
    try:
        return json_text.dumps(json_text.loads(body))
    except ValueError:
        return body  # Claude cannot read it either


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        found = json_text.loads(raw)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _refused(status: int, type: str, message: str) -> UpstreamError:
    return UpstreamError.shaped(status, type, message)
