"""Imports as they are kept: what came, how far it got, never what it says.

    P import:T:<id>  hash        options, counts, and how many records are done
    P imports:T      sorted set  ids by when they began (ms)

Both live 90 days after the last change. Every method raises `StoreError`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import orjson

from cacheserver.storage.connection import PREFIX, Connection, command, run_script
from cacheserver.storage.json_values import tenant_key

State: TypeAlias = Literal["open", "done", "undone"]
Kind: TypeAlias = Literal["answers", "calls", "export"]

COUNTS: Final = ("stored", "replaced", "unchanged", "kept", "conflict", "refused", "labels")
ID: Final = re.compile(r"imp_[0-9a-f]{24}")
IMPORT_TAG: Final = "import:"  # begins the tag of all that an import stored
LIFE_S: Final = 90 * 86_400
_LISTED: Final = 1_000  # of a tenant: the newest

# ARGV: P, tenant's part of the key, id, done as the sender knows it, records, last ('1'), life (s),
# then a name and a number for each count. Returns 1 if the batch counts, 0 where it was counted
# before, or the import has ended. So of a batch that is sent twice, one counts.
_ADVANCE: Final = """
local key = ARGV[1] .. 'import:' .. ARGV[2] .. ':' .. ARGV[3]
local found = redis.call('HMGET', key, 'state', 'done')
if found[1] ~= 'open' or found[2] ~= ARGV[4] then return 0 end
redis.call('HINCRBY', key, 'done', ARGV[5])
if ARGV[6] == '1' then redis.call('HSET', key, 'state', 'done') end
for at = 8, #ARGV, 2 do redis.call('HINCRBY', key, ARGV[at], ARGV[at + 1]) end
redis.call('EXPIRE', key, ARGV[7])
redis.call('EXPIRE', ARGV[1] .. 'imports:' .. ARGV[2], ARGV[7])
return 1
"""
# ARGV: P, tenant's part of the key, id, state. Returns 0 if there is no such import.
_SET_STATE: Final = """
local key = ARGV[1] .. 'import:' .. ARGV[2] .. ':' .. ARGV[3]
if redis.call('EXISTS', key) == 0 then return 0 end
redis.call('HSET', key, 'state', ARGV[4])
return 1
"""


@dataclass(frozen=True, slots=True)
class ImportJob:
    """An import: its options, and what became of its records."""

    id: str
    tenant: str
    kind: Kind
    source: str  # the name of the file or store
    who: str
    created_at: float
    template: str  # digest of the request that its answers belong to; "": each has its own
    tags: tuple[str, ...] = ()
    ttl_s: int | None = None  # None: as long as the tenant's settings allow
    pinned: bool = False  # curated answers: they replace others, and are preferred
    replaces: bool = False  # also those that an operator curated by hand
    state: State = "open"
    done: int = 0  # records, from the first on
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """Return the tag of the entries that it stores."""
        return tag_of(self.id)


def tag_of(id: str) -> str:
    return IMPORT_TAG + id


def new_import_id() -> str:
    return f"imp_{secrets.token_hex(12)}"


class ImportStore:
    """The imports of all tenants."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._prefix = prefix
        self._advance = redis.register_script(_ADVANCE)
        self._set_state = redis.register_script(_SET_STATE)

    async def begin(self, job: ImportJob) -> None:
        """Keep a new import."""
        about = {
            "kind": job.kind,
            "source": job.source,
            "who": job.who,
            "created_at": job.created_at,
            "template": job.template,
            "tags": job.tags,
            "ttl_s": job.ttl_s,
            "pinned": job.pinned,
            "replaces": job.replaces,
        }
        key = self._key(job.tenant, job.id)
        words = ("about", orjson.dumps(about), "state", job.state, "done", job.done)
        await command(self._redis, "HSET", key, *words)
        await command(self._redis, "EXPIRE", key, LIFE_S)
        listed = f"{self._prefix}imports:{tenant_key(job.tenant)}"
        await command(self._redis, "ZADD", listed, round(job.created_at * 1000), job.id)
        await command(self._redis, "ZREMRANGEBYRANK", listed, 0, -_LISTED - 1)
        await command(self._redis, "EXPIRE", listed, LIFE_S)

    async def get(self, tenant: str, id: str) -> ImportJob | None:
        """Return an import; None if there is none, or it is too old."""
        found = await command(self._redis, "HGETALL", self._key(tenant, id))
        return _read(tenant, id, found) if found else None

    async def list(self, tenant: str) -> list[ImportJob]:
        """Return a tenant's imports, newest first."""
        listed = f"{self._prefix}imports:{tenant_key(tenant)}"
        ids = await command(self._redis, "ZREVRANGE", listed, 0, -1)
        found = [await self.get(tenant, id.decode()) for id in ids]
        return [one for one in found if one is not None]

    async def advance(
        self, job: ImportJob, records: int, counts: Mapping[str, int], *, last: bool
    ) -> bool:
        """Count a batch that follows `job.done`. False: it was counted before, or undone since."""
        words: list[str | int] = []
        for name, number in counts.items():
            words += (name, number)
        given = (tenant_key(job.tenant), job.id, job.done, records, int(last), LIFE_S)
        return bool(await run_script(self._advance, self._prefix, *given, *words))

    async def set_state(self, tenant: str, id: str, state: State) -> bool:
        """Set the state. False: there is no such import."""
        words = (self._prefix, tenant_key(tenant), id, state)
        return bool(await run_script(self._set_state, *words))

    def _key(self, tenant: str, id: str) -> str:
        return f"{self._prefix}import:{tenant_key(tenant)}:{id}"


def _read(tenant: str, id: str, found: Mapping[bytes, bytes]) -> ImportJob:
    about: dict[str, Any] = orjson.loads(found[b"about"])
    state: Any = found[b"state"].decode()
    return ImportJob(
        id=id,
        tenant=tenant,
        kind=about["kind"],
        source=about["source"],
        who=about["who"],
        created_at=about["created_at"],
        template=about["template"],
        tags=tuple(about["tags"]),
        ttl_s=about["ttl_s"],
        pinned=about["pinned"],
        replaces=about.get("replaces", False),
        state=state,
        done=int(found[b"done"]),
        counts={name: int(found.get(name.encode(), 0)) for name in COUNTS},
    )
