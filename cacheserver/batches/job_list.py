"""List of the jobs of all tenants, for the admin: by page, without what they ask and answer.

The order is that of `bt:kept`: by when a job's results are deleted. For jobs that are kept equally
long it is the order of their creation, and no index is written for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from cacheserver.batches.jobs import ENDS, Jobs
from cacheserver.core.errors import BadRequest
from cacheserver.core.json_text import loads
from cacheserver.core.money import nanodollars
from cacheserver.core.types import Nanodollars
from cacheserver.storage.connection import PREFIX, Connection, command, store_errors

_READ: Final = 200  # names looked at in one round trip: a millisecond
_LIMIT_S: Final = 0.5  # of a page
_LINES: Final = 50  # result lines read at once: some 100 kB
_FEW: Final = 20  # items of a job whose cost is in the list
_ASK: Final = b"ask:"  # begins the names of what is no job
_FIELDS: Final = (
    *("kind", "tenant", "status", "created_at", "total", "deadline", "ended_at", "cancel_at"),
    *("key_id", "told", *ENDS),
)
_TIMES: Final = ("created_at", "deadline", "ended_at", "cancel_at")


@dataclass(frozen=True, slots=True)
class JobCost:
    """Cost and saving of the ended items of a job. `unpriced` of them have no price."""

    items: int
    cost: Nanodollars
    saved: Nanodollars
    unpriced: int


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job without its content. Times are Unix seconds."""

    id: str
    fields: Mapping[str, Any]
    bytes: int
    expires_at: float
    cost: JobCost | None = None


@dataclass(frozen=True, slots=True)
class JobPage:
    items: Sequence[ListedJob]
    next: str | None


class JobList:
    """Reads the list. Every method raises `StoreError`."""

    def __init__(self, redis: Connection, jobs: Jobs, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._jobs = jobs
        self._prefix = prefix

    async def page(
        self,
        *,
        tenant: str | None = None,
        kind: str | None = None,
        status: str | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> JobPage:
        """Return jobs that match, those that are kept longest first.

        A page that takes too long has fewer, or none, and a cursor. Raises `BadRequest` for a wrong
        one.
        """
        ends, after = monotonic() + _LIMIT_S, _place(cursor)
        wanted = {"tenant": tenant, "kind": kind, "status": status}
        found: list[ListedJob] = []
        while True:
            names = await self._names(after)
            rows = await self._rows([(id, kept) for id, kept in names if not id.startswith(_ASK)])
            for job in rows:
                if all(want in (None, job.fields[name]) for name, want in wanted.items()):
                    found.append(await self._with_cost(job))
                    if len(found) >= limit:
                        return JobPage(found, f"{round(job.expires_at * 1000)}:{job.id}")
            if len(names) < _READ:
                return JobPage(found, None)
            last, kept = names[-1]
            after = kept, last.decode()
            if monotonic() >= ends:
                return JobPage(found, f"{kept}:{after[1]}")

    async def one(self, tenant: str, id: str) -> ListedJob | None:
        """Return a tenant's job with its cost; None if there is none."""
        kept = await command(self._redis, "ZSCORE", f"{self._prefix}bt:kept", id)
        rows = await self._rows([(id.encode(), int(float(kept)))]) if kept is not None else []
        if not rows or rows[0].fields["tenant"] != tenant:
            return None
        return await self._with_cost(rows[0], most=rows[0].fields["total"])

    async def _names(self, after: tuple[int, str] | None) -> list[tuple[bytes, int]]:
        """Return the names after a place, with their deadlines (ms)."""
        key, start = f"{self._prefix}bt:kept", 0
        if after is not None:
            kept, id = after
            rank = await command(self._redis, "ZREVRANK", key, id)
            if rank is None:  # deleted since
                start = int(await command(self._redis, "ZCOUNT", key, f"({kept}", "+inf"))
            else:
                start = int(rank) + 1
        stop = start + _READ - 1
        found = await command(self._redis, "ZREVRANGE", key, start, stop, "WITHSCORES")
        return [(found[at], int(float(found[at + 1]))) for at in range(0, len(found), 2)]

    async def _rows(self, names: Sequence[tuple[bytes, int]]) -> list[ListedJob]:
        if not names:
            return []
        ids = [id.decode() for id, _ in names]
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for id in ids:
                    pipe.hmget(f"{self._prefix}bt:job:{id}", list(_FIELDS))
                pipe.hmget(f"{self._prefix}bt:bytes", ids)
                *rows, sizes = await pipe.execute()
        return [
            ListedJob(id, fields, int(size or 0), kept / 1000)
            for id, (_, kept), row, size in zip(ids, names, rows, sizes, strict=True)
            if (fields := _read(row)) is not None
        ]

    async def _with_cost(self, job: ListedJob, *, most: int = _FEW) -> ListedJob:
        total = job.fields["total"]
        if total > most or not sum(job.fields["counts"].values()):
            return job
        items = cost = saved = unpriced = 0
        for start in range(0, total, _LINES):
            for line in await self._jobs.some(job.id, range(start, min(start + _LINES, total))):
                if line is None:
                    continue
                shown = loads(line).get("cache") or {}
                items += 1
                unpriced += shown.get("cost_usd") is None
                cost += nanodollars(shown.get("cost_usd") or "0")
                saved += nanodollars(shown.get("saved_usd") or "0")
        found = JobCost(items, cost, saved, unpriced)
        return ListedJob(job.id, job.fields, job.bytes, job.expires_at, found)


def _read(row: Sequence[bytes | None]) -> dict[str, Any] | None:
    """Decode the fields of a job; None if it is gone."""
    text = {
        name: value.decode() for name, value in zip(_FIELDS, row, strict=True) if value is not None
    }
    if "total" not in text:
        return None
    times = {name: float(text[name]) if name in text else None for name in _TIMES}
    return {
        "kind": text["kind"],
        "tenant": text["tenant"],
        "status": text["status"],
        "key_id": text.get("key_id"),
        "total": int(text["total"]),
        "counts": {end: int(text.get(end, 0)) for end in ENDS},
        "webhook": text.get("told"),
        **times,
    }


def _place(cursor: str | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    kept, _, id = cursor.partition(":")
    if not (kept.isascii() and kept.isdecimal() and len(kept) < 16 and id.isascii() and id):
        raise BadRequest("cursor", "must be the `next` of the page before")
    return int(kept), id
