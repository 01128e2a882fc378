"""Jobs as their callers see them: queued, looked at, cancelled, read, deleted.

Rule: a job is there once all of its items are, in one step, and only its tenant finds it.

Every method raises `StoreError` when the store fails.
"""

from __future__ import annotations

import asyncio
import secrets
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import orjson

from cacheserver.batches import job_scripts
from cacheserver.core import json_text
from cacheserver.core.errors import StoreError
from cacheserver.core.rules.validation import Check
from cacheserver.core.types import Controls, Declaration
from cacheserver.storage.connection import PREFIX, Connection, command, run_script, store_errors
from cacheserver.storage.json_values import tenant_key
from cacheserver.storage.key_scan import scan_keys
from cacheserver.storage.replication import wait_for_replicas
from cacheserver.storage.sealer import PlainSealer, Sealer, as_object

Kind: TypeAlias = Literal["batch", "query"]
Status: TypeAlias = Literal["in_progress", "canceling", "ended"]

ENDS = ("succeeded", "errored", "canceled", "expired")

JOBS, ITEMS, RESULTS = "jobs", "job_items", "job_results"  # as values are sealed
# Fields that the caller wrote; the answer's check is among the controls.
_SEALED = frozenset({"headers", "controls", "conversation", "webhook"})

_CHUNK_BYTES = 4_000_000  # of items sent to the store at once: a few milliseconds of its time
_LISTED = 500  # batches looked at in one round trip: 2 ms
_PAGE = 50  # result lines read at once: some 100 kB
_ITEM_BYTES = 200  # of an item beside itself: its places in three hashes (measured)
_JOB_BYTES = 2_000  # of a job beside its items: what it is and who asked, and its places in lists
_PACK_LEVEL = 1  # of zlib: half the size of JSON at 50 MB a second


@dataclass(frozen=True, slots=True)
class Job:
    """A job: items that were sent together, and their progress."""

    id: str
    kind: Kind
    tenant: str
    created_at: float
    total: int
    key_id: str | None = None
    headers: Mapping[str, str] | None = None  # the caller's, that go to Claude
    controls: Controls = field(default_factory=Controls)
    deadline: float | None = None
    conversation: str | None = None  # the caller's name for it
    wait: bool = True  # the caller chose a batch; False: only a deadline was given
    open_ended: bool = False  # the caller gave no `max_tokens`: ours is in the body
    webhook: str | None = None
    trace: str | None = None  # the `traceparent` of its creation
    cursor: int = 0  # items before it have been looked up
    status: Status = "in_progress"
    counts: Mapping[str, int] | None = None  # of ended items, by their end
    ended_at: float | None = None
    cancel_at: float | None = None
    webhook_state: str | None = None  # "sent", "failed"; None: not yet
    attempts: int = 0  # of the webhook
    erased_by: str | None = None  # the erasure that covers it, and removed what it covers it by

    @property
    def done(self) -> int:
        return sum((self.counts or {}).values())


class NoRoom(StoreError):
    """Raised if the store has no room for another job."""


class Jobs:
    """The jobs of every tenant. Requests and results take `max_bytes`, but for running jobs."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        max_bytes: int | None = None,
        sealer: Sealer | None = None,
    ) -> None:
        self._redis = redis
        self._sealer = sealer or PlainSealer()
        self._prefix = prefix
        self.max_bytes = max_bytes
        self._room = redis.register_script(job_scripts.ROOM)
        self._open = redis.register_script(job_scripts.OPEN)
        self._cancel = redis.register_script(job_scripts.CANCEL)
        self._delete = redis.register_script(job_scripts.DELETE)

    async def create(self, job: Job, items: Sequence[tuple[str, bytes]], *, keep_s: int) -> int:
        """Store a job and its items, (custom id, request) each. It is durable when this returns.

        Returns how many ended jobs made room for it. Raises `NoRoom` where that is not enough.
        """
        life_ms, since = keep_s * 1000, self._redis.recent.takeovers
        key = f"{self._prefix}bt:in:{job.id}"
        await self._sealer.ready(job.tenant)
        # A large batch takes seconds.
        sealed = await asyncio.to_thread(_all_packed, self._sealer, job, items)
        taken = sum(map(len, sealed)) + len(sealed) * _ITEM_BYTES + _JOB_BYTES
        words = (job.id, taken, self.max_bytes or 0, life_ms)
        made_room = int(await run_script(self._room, self._prefix, "", *words))
        if made_room < 0:
            raise NoRoom(f"there is no room for another {taken} bytes of jobs")
        chunk: dict[Any, Any] = {}
        size = 0
        for place, packed in enumerate(sealed):
            chunk[str(place)] = packed
            size += len(packed)
            if size >= _CHUNK_BYTES or place == len(sealed) - 1:
                with store_errors():
                    async with self._redis.pipeline(transaction=True) as pipe:
                        pipe.hset(key, mapping=chunk)
                        pipe.pexpire(key, life_ms)
                        await pipe.execute()
                chunk, size = {}, 0
        fields = [word for pair in _written(job, self._sealer).items() for word in pair]
        listed = tenant_key(job.tenant) if job.kind == "batch" else ""
        created_ms = round(job.created_at * 1000)
        await run_script(self._open, self._prefix, "", job.id, listed, created_ms, life_ms, *fields)
        await wait_for_replicas(self._redis, prefix=self._prefix, since=since)
        return made_room

    async def get(self, tenant: str, id: str) -> Job | None:
        """A tenant's job by id; None if there is none."""
        job = await self.find(id)
        return job if job is not None and job.tenant == tenant else None

    async def find(self, id: str) -> Job | None:
        fields = await command(self._redis, "HGETALL", f"{self._prefix}bt:job:{id}")
        await self._sealer.know(fields.values())
        if b"total" not in fields:
            return None
        return self._sealer.decoded(lambda: _read(id, fields, self._sealer))

    async def batches(
        self, tenant: str, *, whose: Callable[[str | None], bool] = lambda _: True
    ) -> list[str]:
        """The ids of a tenant's batches, newest first: those whose key's id `whose` accepts.

        Those whose results have expired leave the list.
        """
        key = f"{self._prefix}bt:mine:{tenant_key(tenant)}"
        ids = [id.decode() for id in await command(self._redis, "ZREVRANGE", key, 0, -1)]
        found: list[str] = []
        gone: list[str] = []
        for start in range(0, len(ids), _LISTED):
            some = ids[start : start + _LISTED]
            with store_errors():
                async with self._redis.pipeline(transaction=False) as pipe:
                    for id in some:
                        pipe.hmget(f"{self._prefix}bt:job:{id}", "tenant", "key_id")
                    rows = await pipe.execute()
            for id, (there, key_id) in zip(some, rows, strict=True):
                if there is None:
                    gone.append(id)
                elif whose(None if key_id is None else key_id.decode()):
                    found.append(id)
        if gone:
            await command(self._redis, "ZREM", key, *gone)
        return found

    async def under_way(self, tenant: str) -> list[Job]:
        """Return a tenant's jobs that have not ended. It looks through all tenants' jobs."""
        found: list[Job] = []
        start = f"{self._prefix}bt:job:"
        async for page in scan_keys(self._redis, start):
            for key in page:
                whose, status = await command(self._redis, "HMGET", key, "tenant", "status")
                if whose == tenant.encode() and status != b"ended":
                    job = await self.find(key[len(start) :].decode())
                    found += [job] if job is not None else []
        return found

    async def cancel(self, id: str, now: float) -> bool:
        """Request the end of a job. False if it has ended."""
        return bool(await run_script(self._cancel, self._prefix, "", id, repr(now)))

    async def delete(self, tenant: str, id: str) -> bool:
        """Delete a job and its results. False if it has not ended."""
        return bool(await run_script(self._delete, self._prefix, "", id, tenant_key(tenant)))

    async def lines(self, job: Job) -> AsyncIterator[bytes]:
        """The lines of a job's results in the order of its items, a page in memory at a time."""
        for start in range(0, job.total, _PAGE):
            for line in await self.some(job.id, range(start, min(start + _PAGE, job.total))):
                if line is not None:
                    yield line

    async def some(self, id: str, items: Sequence[int]) -> list[bytes | None]:
        """The result lines of these items; None for one that has not ended."""
        found = await command(self._redis, "HMGET", f"{self._prefix}bt:out:{id}", *items)
        await self._sealer.know(found)
        return [
            self._sealer.read(RESULTS, None, place_name(id, item), line, _line)
            for item, line in zip(items, found, strict=True)
        ]

    async def items(self, id: str, items: Sequence[int]) -> list[tuple[str, bytes] | None]:
        """The custom ids and requests of these items; None for one that has ended.

        One that does not open is a request without a body, so that it ends as one that is none.
        """
        found = await command(self._redis, "HMGET", f"{self._prefix}bt:in:{id}", *items)
        await self._sealer.know(found)
        return [
            None if sealed is None else unpacked(self._sealer, place_name(id, item), sealed)
            for item, sealed in zip(items, found, strict=True)
        ]


def new_id(kind: Kind) -> str:
    """A new id; a batch's has the form of Anthropic's."""
    return ("msgbatch_" if kind == "batch" else "job_") + secrets.token_hex(12)


def place_name(id: str, item: int) -> str:
    """The name under which an item's request and result are sealed; no id has a colon."""
    return f"{id}:{item}"


def packed(sealer: Sealer, tenant: str, name: str, custom_id: str, raw: bytes) -> bytes:
    """Encode an item as it is stored."""
    plain = custom_id.encode() + b"\n" + zlib.compress(raw, _PACK_LEVEL)
    return sealer.seal(ITEMS, tenant, name, plain)


def unpacked(sealer: Sealer, name: str, packed: bytes) -> tuple[str, bytes]:
    """Decode the custom id and request of an item; empty if it cannot be decrypted."""
    return sealer.read(ITEMS, None, name, packed, _item) or ("", b"")


def sealed_controls(sealer: Sealer, job: Job, controls: Controls) -> bytes:
    """Encode the controls of a job as they are stored."""
    plain = json_text.dumps(asdict(controls))
    return sealer.seal(JOBS, job.tenant, f"{job.id}:controls", plain)


def _item(plain: bytes) -> tuple[str, bytes]:
    custom_id, _, raw = plain.partition(b"\n")
    return custom_id.decode(), zlib.decompress(raw)


def _line(plain: bytes) -> bytes:
    """Check a line of results. Raises `ValueError` if it is none."""
    as_object(plain)
    return plain


def _all_packed(sealer: Sealer, job: Job, items: Sequence[tuple[str, bytes]]) -> list[bytes]:
    return [
        packed(sealer, job.tenant, place_name(job.id, place), custom_id, raw)
        for place, (custom_id, raw) in enumerate(items)
    ]


def _written(job: Job, sealer: Sealer) -> dict[str, str | bytes | float]:
    fields: dict[str, str | float | None] = {
        "kind": job.kind,
        "tenant": job.tenant,
        "who": tenant_key(job.tenant),  # for the scripts: whose budget
        "created_at": repr(job.created_at),
        "total": job.total,
        "key_id": job.key_id,
        "headers": orjson.dumps(dict(job.headers or {})).decode(),
        "controls": json_text.dumps(asdict(job.controls)).decode(),
        "deadline": None if job.deadline is None else repr(job.deadline),
        "conversation": job.conversation,
        "wait": int(job.wait),
        "open_ended": int(job.open_ended),
        "webhook": job.webhook,
        "trace": job.trace,
        "cursor": job.cursor,
        "status": job.status,
    }
    sealed: dict[str, str | bytes | float] = {}
    for name, value in fields.items():
        if value is not None and name in _SEALED:
            sealed[name] = sealer.seal(JOBS, job.tenant, f"{job.id}:{name}", str(value).encode())
        elif value is not None:
            sealed[name] = value
    return sealed


def _read(id: str, fields: Mapping[bytes, bytes], sealer: Sealer) -> Job | None:
    """Decode a job; None if it cannot be decrypted."""
    text: dict[str, str] = {}
    for field_name, value in fields.items():
        name = field_name.decode()
        if name in _SEALED:
            tenant = fields[b"tenant"].decode()
            plain = sealer.opened(JOBS, tenant, f"{id}:{name}", value)
            if plain is None:
                return None
            value = plain
        text[name] = value.decode()

    def number(name: str) -> float | None:
        return float(text[name]) if name in text else None

    return Job(
        id=id,
        kind="batch" if text["kind"] == "batch" else "query",
        tenant=text["tenant"],
        created_at=float(text["created_at"]),
        total=int(text["total"]),
        key_id=text.get("key_id"),
        headers=orjson.loads(text["headers"]),
        controls=_controls(json_text.loads(text["controls"])),
        deadline=number("deadline"),
        conversation=text.get("conversation"),
        wait=text["wait"] == "1",
        open_ended=text["open_ended"] == "1",
        webhook=text.get("webhook"),
        trace=text.get("trace"),
        cursor=int(text["cursor"]),
        status=_status(text["status"]),
        counts={end: int(text.get(end, 0)) for end in ENDS},
        ended_at=number("ended_at"),
        cancel_at=number("cancel_at"),
        webhook_state=text.get("told"),
        attempts=int(text.get("attempts", 0)),
        erased_by=text.get("erased_by"),
    )


def _controls(controls: Mapping[str, Any]) -> Controls:
    check, declared = controls.get("check"), controls.get("declared")
    return Controls(
        **{
            **_tupled(controls),
            "check": None if check is None else Check(**_tupled(check)),
            "declared": None if declared is None else Declaration(**_tupled(declared)),
        }
    )


def _tupled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with tuples for the lists of JSON."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


def _status(text: str) -> Status:
    match text:
        case "canceling":
            return "canceling"
        case "ended":
            return "ended"
    return "in_progress"
